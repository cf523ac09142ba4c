"""The bytes decide which decoder reads them; a format without a signature comes last."""

from __future__ import annotations

import io

import numpy as np
import pytest
from pictures import encoded, picture
from PIL import Image

from diantu.datasets import SampleError, decode, is_image_name
from diantu.datasets.decoding import media_type

heif = pytest.importorskip("pillow_heif")


def heic(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    heif.from_pillow(image).save(buffer, **options)
    return buffer.getvalue()


def test_an_icon_whose_size_field_looks_like_a_tga() -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (160, 160, 3), np.uint8))
    data = encoded(noise, "ICO", sizes=[(160, 160)], bitmap_format="png")
    assert 65536 < int.from_bytes(data[14:18], "little") < 131072
    np.testing.assert_array_equal(decode(data), np.asarray(noise))


@pytest.mark.parametrize("options", [{}, {"compression": "tga_rle"}, {"id_section": b"123456789\0"}])
def test_a_tga_with_and_without_its_footer(options: dict[str, object]) -> None:
    data = encoded(picture(), "TGA", **options)
    np.testing.assert_array_equal(decode(data), np.asarray(picture()))
    np.testing.assert_array_equal(decode(data[:-26]), np.asarray(picture()))


def test_a_damaged_file_is_not_taken_for_another_format() -> None:
    data = bytearray(encoded(picture(), "PNG"))
    data[12:16] = b"XXXX"
    with pytest.raises(SampleError, match="begin like PNG"):
        decode(bytes(data))


def test_heic_is_read_and_turned_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = picture(size=(64, 48))
    upright, turned = decode(heic(image, quality=90)), decode(heic(image, quality=90, exif=exif.tobytes()))
    assert upright.shape == (48, 64, 3)
    assert np.abs(upright.astype(int) - np.asarray(image)).mean() < 6
    np.testing.assert_array_equal(turned.shape, (64, 48, 3))
    assert np.abs(np.rot90(upright, -1).astype(int) - turned).mean() < 6
    assert all(map(is_image_name, ("a.heic", "a.HEIF", "a.hif")))


def test_the_primary_image_of_several_is_decoded() -> None:
    file = heif.from_pillow(Image.new("RGB", (64, 64), "red"))
    file.add_from_pillow(Image.new("RGB", (64, 64), "blue"))
    buffer = io.BytesIO()
    file.save(buffer, primary_index=1, quality=90)
    assert decode(buffer.getvalue())[9, 9].argmax() == 2


def test_importing_diantu_registers_nothing_with_pillow() -> None:
    assert "HEIF" not in Image.OPEN


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("JPEG", ("image/jpeg", "jpg")), ("PNG", ("image/png", "png")), ("GIF", ("image/gif", "gif")),
        ("WEBP", ("image/webp", "webp")), ("TIFF", ("image/tiff", "tif")), ("BMP", ("image/bmp", "bmp")),
        ("AVIF", ("image/avif", "avif")), ("JPEG2000", ("image/jp2", "jp2")), ("PPM", None), ("TGA", None),
        ("ICO", None), ("PCX", None),
    ],
)  # fmt: skip
def test_media_types_follow_signatures(kind: str, expected: tuple[str, str] | None) -> None:
    assert media_type(encoded(Image.new("RGB", (16, 16)), kind)) == expected


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"<svg/>", b"<html>", b"%PDF-1.7", b"\0\0\0\x18ftypmp42", b"GIF88a", b"RIFF0000WAVE"]
)
def test_what_is_no_image_has_no_media_type(data: bytes) -> None:
    assert media_type(data) is None

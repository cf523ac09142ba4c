"""Encoded bytes → RGB pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from pictures import encoded, huge_png, jpeg, picture
from PIL import Image

from diantu.datasets import Reason, SampleError, decode
from diantu.datasets.decoding import decode_with_notes


def mean_error(pixels: np.ndarray, expected: Image.Image) -> float:
    return float(np.abs(pixels.astype(float) - np.asarray(expected.convert("RGB"), float)).mean())


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (jpeg(), picture()),
        (encoded(picture(), "PNG"), picture()),
        (encoded(picture(), "WEBP", lossless=True), picture()),
        (encoded(picture(), "BMP"), picture()),
        (encoded(picture(), "TIFF"), picture()),
        (encoded(picture(mode="L"), "PNG"), picture(mode="L")),
        (encoded(picture(mode="1"), "PNG"), picture(mode="1")),
        (encoded(picture(mode="P"), "PNG"), picture(mode="P")),
        (encoded(picture(mode="CMYK"), "JPEG", quality=95), picture()),
        (encoded(picture(mode="LAB"), "TIFF"), picture()),
    ],
    ids=["jpeg", "png", "webp", "bmp", "tiff", "grey", "bilevel", "palette", "cmyk", "lab"],
)
def test_modes_become_rgb(data: bytes, expected: Image.Image) -> None:
    pixels = decode(data)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (30, 40, 3))
    assert mean_error(pixels, expected) < 4


@pytest.mark.parametrize(
    ("mode", "name"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP")], ids=["rgba", "la", "webp"]
)
def test_transparent_parts_become_white(mode: str, name: str) -> None:
    image = picture(mode=mode)
    image.putalpha(0)
    assert (decode(encoded(image, name, **({"lossless": True} if name == "WEBP" else {}))) == 255).all()


def test_palette_with_transparency_is_flattened_on_white() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 10, 20])
    image.putpixel((0, 0), 0)
    pixels = decode(encoded(image, "PNG", transparency=0))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 1].tolist() == [200, 10, 20]


def test_16_bit_grey_keeps_its_scale() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    pixels = decode(encoded(Image.fromarray(ramp), "PNG"))
    np.testing.assert_allclose(pixels[..., 0], ramp / 257, atol=0.51)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.0, 500.0)])
def test_float_images_use_the_full_range(low: float, high: float) -> None:
    values = np.linspace(low, high, 64, dtype=np.float32).reshape(8, 8)
    pixels = decode(encoded(Image.fromarray(values), "TIFF"))
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert (np.diff(pixels[..., 0].ravel().astype(int)) >= 0).all()


def test_the_image_is_rotated_by_its_exif_orientation() -> None:
    image = Image.new("RGB", (40, 20), "black")
    image.paste((255, 0, 0), (0, 0, 20, 20))  # red on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise: left goes to the top
    pixels = decode(encoded(image, "JPEG", quality=95, exif=exif))
    assert pixels.shape == (40, 20, 3)
    assert pixels[5, 10, 0] > 200
    assert pixels[35, 10, 0] < 50


def test_the_first_frame_of_an_animation_is_decoded() -> None:
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    data = encoded(first, "GIF", save_all=True, append_images=[second])
    assert decode(data)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"not an image at all", Reason.UNDECODABLE),
        (jpeg(size=(200, 200))[:-600], Reason.TRUNCATED),
        (encoded(picture(size=(200, 200)), "PNG")[:-400], Reason.TRUNCATED),
        (huge_png(30_000, 30_000), Reason.TOO_LARGE),
        (huge_png(10_000, 10_000), Reason.TOO_LARGE),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", Reason.UNDECODABLE),
    ],
    ids=["empty", "text", "half a jpeg", "half a png", "bomb", "large", "eps"],
)
def test_a_failed_decode_has_a_reason(data: bytes, reason: Reason) -> None:
    with pytest.raises(SampleError) as caught:
        decode(data)
    assert caught.value.reason == reason
    assert caught.value.detail
    assert "\n" not in caught.value.detail


def test_the_settings_of_pillow_do_not_change() -> None:
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(SampleError):
        decode(huge_png(30_000, 30_000))
    assert before == Image.MAX_IMAGE_PIXELS
    assert Image.open(io.BytesIO(jpeg())).size == (40, 30)


@pytest.mark.parametrize(
    ("at_least", "shape"),
    [(2000, (1000, 2000)), (1001, (1000, 2000)), (1000, (500, 1000)), (200, (125, 250)), (9, (125, 250))],
)
def test_a_jpeg_for_a_thumbnail_is_decoded_at_a_fraction_of_its_size(at_least: int, shape: tuple[int, int]) -> None:
    gradient = np.linspace(0, 255, 2000, dtype=np.uint8)[None, :, None].repeat(1000, 0).repeat(3, 2)
    whole = encoded(Image.fromarray(gradient), "JPEG", quality=95)
    small = decode_with_notes(whole, at_least=at_least).rgb_HWC
    assert small.shape == (*shape, 3)
    reduced = np.asarray(Image.fromarray(decode(whole)).resize(shape[::-1], Image.Resampling.BOX), np.int16)
    assert np.abs(reduced - small.astype(np.int16)).max() <= 4


def test_only_jpegs_are_reduced_and_limits_count_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    black = Image.new("RGB", (80, 40))
    assert decode_with_notes(encoded(black, "PNG"), at_least=10).rgb_HWC.shape == (40, 80, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3199)
    with pytest.raises(SampleError, match="80 × 40 pixels are more than 3199"):
        decode_with_notes(encoded(black, "JPEG"), at_least=10)


def test_a_reduced_jpeg_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.new("RGB", (800, 400)), "JPEG", exif=exif)
    assert decode_with_notes(data, at_least=100).rgb_HWC.shape == (100, 50, 3)

"""The same picture gives the same pixels, whether it comes as a path, bytes, a PIL image or an array."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from pictures import encoded, picture
from PIL import Image

from diantu.datasets import InputError, decode
from diantu.datasets.decoding import pixels_of
from diantu.search import Query


def translucent(mode: str) -> Image.Image:
    image = picture(mode="RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image.convert(mode)


def palette(transparency: int | bytes) -> bytes:
    return encoded(picture(mode="RGB").quantize(8), "PNG", transparency=transparency)


def turned(name: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture(), name, exif=exif)


RAMP = np.linspace(0, 65535, 1200).astype(np.uint16).reshape(30, 40)
FILES = {
    "jpeg": encoded(picture()),
    "jpeg turned": turned("JPEG"),
    "png turned": turned("PNG"),
    "webp turned": turned("WEBP"),
    "tiff turned": encoded(picture(), "TIFF", tiffinfo={0x0112: 6}),
    "cmyk": encoded(picture(mode="CMYK"), "JPEG"),
    "grey": encoded(picture(mode="L"), "PNG"),
    "grey, one transparent": encoded(picture(mode="L"), "PNG", transparency=picture(mode="L").getpixel((5, 5))),
    "two levels": encoded(picture(mode="1"), "PNG"),
    "rgba": encoded(translucent("RGBA"), "PNG"),
    "grey and alpha": encoded(translucent("LA"), "PNG"),
    "palette": encoded(picture(mode="P"), "PNG"),
    "palette, one transparent": palette(3),
    "palette, some translucent": palette(bytes([0, 90, 255, 10])),
    "16 bits": encoded(Image.fromarray(RAMP), "PNG"),
    "16 bits, one transparent": encoded(Image.fromarray(RAMP), "PNG", transparency=int(RAMP[0, 9])),
    "32 bits": encoded(Image.fromarray(RAMP.astype(np.int32)), "TIFF"),
    "float": encoded(Image.fromarray((RAMP / 65535).astype(np.float32)), "TIFF"),
    "gif": encoded(picture().quantize(16), "GIF", transparency=2),
    "lab": encoded(picture(mode="LAB"), "TIFF"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_door_gives_the_same_pixels(name: str, tmp_path: Path) -> None:
    data = FILES[name]
    expected = decode(data)
    path = tmp_path / "image"
    path.write_bytes(data)
    lazy, loaded, from_path = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(data)), Image.open(path)
    loaded.load()
    for given in (path, str(path), bytearray(data), lazy, loaded, from_path, loaded.copy()):
        np.testing.assert_array_equal(pixels_of(given), expected)
    assert Query(images=[lazy]).parts()[0].value.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["jpeg", "grey", "two levels", "rgba", "grey and alpha", "16 bits", "float"])
def test_an_array_is_the_picture_it_was_made_of(name: str) -> None:
    image = Image.open(io.BytesIO(FILES[name]))
    array, expected = np.asarray(image), decode(FILES[name])
    np.testing.assert_array_equal(pixels_of(array), expected)
    if array.ndim == 2:
        np.testing.assert_array_equal(pixels_of(array[..., None]), expected)
    if array.dtype == np.uint8:
        np.testing.assert_array_equal(pixels_of(array.astype(np.float32) / 255), expected)
        np.testing.assert_array_equal(pixels_of(array[::-1][::-1].astype(np.uint16) * 257), expected)
    if array.dtype == np.float32:
        np.testing.assert_array_equal(pixels_of(array.astype(np.float64)), expected)


def test_a_picture_that_was_changed_is_taken_as_it_is() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    image = Image.open(io.BytesIO(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])))
    image.seek(1)
    assert pixels_of(image)[0, 0].tolist() == [0, 0, 255]
    drawn = Image.open(io.BytesIO(FILES["rgba"]))
    drawn.putpixel((0, 0), (1, 2, 3, 255))
    assert pixels_of(drawn)[0, 0].tolist() == [1, 2, 3]
    draft = Image.open(io.BytesIO(encoded(picture(size=(400, 300)))))
    draft.draft("RGB", (100, 75))
    assert pixels_of(draft).shape == (75, 100, 3)


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5, 5), np.uint8), np.zeros((3, 5, 4, 3), np.uint8), np.zeros(5),
        np.zeros((5, 5), np.int64), np.zeros((5, 5), complex), np.array([["a"]]), Image.new("RGB", (0, 4)), 7,
        None, [1],
    ],
    ids=lambda given: f"{type(given).__name__} {getattr(given, 'dtype', '')}{getattr(given, 'shape', '')}",
)  # fmt: skip
def test_what_is_no_image_is_refused(given: object) -> None:
    with pytest.raises(InputError, match="give"):
        pixels_of(given)  # type: ignore[arg-type]


def test_values_that_are_not_numbers_are_black_and_infinite_ones_the_ends() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, 0.5]], np.float32)
    assert pixels_of(values)[0, :, 0].tolist() == [0, 255, 0, 128]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_image_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(InputError, match="not a regular file"):
        Query(image=tmp_path / "pipe.jpg").parts()

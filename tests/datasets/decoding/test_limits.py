"""What an image costs is known before it is decoded, and bounded."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pictures import encoded, huge_png, picture
from PIL import Image

from diantu.datasets import Reason, SampleError, decode


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    """A limit of 10 000 pixels, as a user may set it."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    return 10_000


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
def test_a_plain_image_of_all_permitted_pixels_is_decoded(name: str, small_limit: int) -> None:
    image = picture(size=(100, 100))
    image = image.quantize(8) if name == "GIF" else image
    data = encoded(image, name, **({"quality": 80} if name == "JPEG" else {}))
    if name not in ("BMP", "TIFF"):  # they are stored without compression, which counts, too
        assert decode(data).shape == (100, 100, 3)
    with pytest.raises(SampleError, match="more than 10000"):
        decode(encoded(image.resize((101, 100)), name))


@pytest.mark.parametrize("name", ["JPEG2000", "WEBP", "AVIF"])
def test_a_format_that_needs_more_memory_is_refused_below_that(name: str, small_limit: int) -> None:
    with pytest.raises(SampleError, match="MiB of memory") as caught:
        decode(encoded(picture(size=(100, 100)), name))
    assert caught.value.reason == Reason.TOO_LARGE
    assert decode(encoded(picture(size=(60, 50)), name)).shape == (50, 60, 3)


def test_a_jpeg_of_very_many_scans_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(picture(size=(300, 300)), "JPEG", progressive=True)
    assert decode(data).shape == (300, 300, 3)
    at = data.rindex(b"\xff\xda")
    with pytest.raises(SampleError, match="scans would take too long"):
        decode(data[:at] + data[at:-2] * 60_000 + data[-2:])


def test_a_png_inside_an_icon_counts(small_limit: int) -> None:
    inner = huge_png(4000, 4000)
    data = struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHLL", 0, 0, 0, 0, 1, 32, len(inner), 22) + inner
    with pytest.raises(SampleError) as caught:
        decode(data)
    assert caught.value.reason == Reason.TOO_LARGE


def test_large_images_are_converted_strip_by_strip() -> None:
    values = np.arange(1500 * 1500, dtype=np.float32).reshape(1500, 1500)  # more than one strip
    pixels = decode(encoded(Image.fromarray(values), "TIFF", tiffinfo={0x0112: 6}))
    expected = np.rot90(np.rint(values.astype(np.float64) * 255 / values.max()).astype(np.uint8), -1)
    np.testing.assert_array_equal(pixels[..., 1], expected)

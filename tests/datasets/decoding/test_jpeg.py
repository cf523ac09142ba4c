"""JPEGs have Pillow's pixels, whichever library decodes them."""

from __future__ import annotations

import io
from itertools import product

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded, picture
from PIL import Image

from diantu.datasets import SampleError, decode, photos
from diantu.datasets.decoding.jpeg import plain_pixels, stored_pixels

SMALL = picture(3, (67, 45))
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8))


def by_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def by_simplejpeg(data: bytes) -> np.ndarray | None:
    with Image.open(io.BytesIO(data)) as image:
        return stored_pixels(image, data)


def assert_same(data: bytes) -> None:
    found = by_simplejpeg(data)
    assert found is not None
    np.testing.assert_array_equal(found, by_pillow(data))
    np.testing.assert_array_equal(decode(data), found)


def test_the_photographs() -> None:
    for path in sorted(photos.FOLDER.glob("*.jpg")):
        assert_same(path.read_bytes())


@pytest.mark.parametrize("image", [SMALL, NOISE, SMALL.convert("L")], ids=["smooth", "noise", "grey"])
def test_every_kind_of_coding(image: Image.Image) -> None:
    kinds = product(("4:4:4", "4:2:2", "4:2:0", "4:1:1"), (False, True), (0, 3), (5, 75, 100))
    for subsampling, progressive, restart, quality in kinds:
        options = {"progressive": progressive, "restart_marker_blocks": restart, "quality": quality}
        assert_same(encoded(image, "JPEG", subsampling=subsampling, **options))


@pytest.mark.parametrize("subsampling", ["440", "411", "422", "420", "444"])
def test_the_subsampling_of_other_encoders(subsampling: str) -> None:
    assert_same(simplejpeg.encode_jpeg(np.asarray(NOISE), 80, "RGB", subsampling))


def test_only_files_with_one_scan_of_grey_or_colour_are_plain() -> None:
    for image in (NOISE, NOISE.convert("L")):
        data = encoded(image, "JPEG")
        np.testing.assert_array_equal(plain_pixels(data), by_pillow(data))
        assert plain_pixels(data[:-2]) is None
    assert plain_pixels(encoded(NOISE, "JPEG", progressive=True)) is None
    assert plain_pixels(encoded(NOISE.convert("CMYK"), "JPEG")) is None


def test_files_above_the_limit_of_pixels_are_not_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", NOISE.width * NOISE.height - 1)
    assert plain_pixels(encoded(NOISE, "JPEG")) is None


def test_colours_that_are_stored_as_rgb() -> None:
    assert_same(encoded(NOISE, "JPEG", keep_rgb=True))


def test_odd_sizes() -> None:
    for width, height in product((1, 2, 7, 8, 9, 15, 16, 17, 33), repeat=2):
        for subsampling in ("4:2:0", "4:2:2"):
            assert_same(encoded(NOISE.crop((0, 0, width, height)), "JPEG", subsampling=subsampling))


def test_cmyk_and_damaged_files_are_left_to_pillow() -> None:
    data = encoded(NOISE)
    assert by_simplejpeg(encoded(NOISE.convert("CMYK"))) is None
    for cut in (data[:-2], data[: len(data) // 2]):
        assert by_simplejpeg(cut) is None
        with pytest.raises(SampleError, match="truncated"):
            decode(cut)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(SMALL, "JPEG", exif=exif)
    turned = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF's numbers and Pillow's
    expected = Image.fromarray(by_pillow(data))
    if orientation > 1:
        expected = expected.transpose(Image.Transpose(turned[orientation]))
    np.testing.assert_array_equal(decode(data), np.asarray(expected))


def outcome(data: bytes) -> np.ndarray | str:
    try:
        return decode(data)
    except SampleError as error:
        return f"{error.reason}: {error.detail}"


@settings(max_examples=300, deadline=None)
@given(at=st.floats(0, 1), value=st.integers(0, 255), progressive=st.booleans(), cut=st.booleans())
def test_damaged_files_have_pillows_outcome(at: float, value: int, progressive: bool, cut: bool) -> None:
    data = bytearray(encoded(NOISE, "JPEG", progressive=progressive))
    place = min(int(at * len(data)), len(data) - 1)
    data[place] = value
    damaged = bytes(data[:place] if cut else data)
    found = outcome(damaged)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("diantu.datasets.decoding.images.plain_pixels", lambda data: None)
        patched.setattr("diantu.datasets.decoding.images.stored_pixels", lambda image, data: None)
        np.testing.assert_equal(found, outcome(damaged))

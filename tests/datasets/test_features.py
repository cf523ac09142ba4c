"""Measures of how an image looks."""

from __future__ import annotations

import numpy as np
import pytest
from pictures import encoded
from PIL import Image, ImageOps

from diantu.datasets import decode, image_features, photos
from diantu.datasets.features import COLOR_NAMES


def flat(color: tuple[int, int, int], size: tuple[int, int] = (50, 40)) -> np.ndarray:
    return np.asarray(Image.new("RGB", size, color))


def photo(name: str) -> np.ndarray:
    return decode((photos.FOLDER / name).read_bytes())


@pytest.mark.parametrize(
    ("color", "name"),
    [
        ((0, 0, 0), "black"),
        ((255, 255, 255), "white"),
        ((128, 128, 128), "gray"),
        ((220, 20, 20), "red"),
        ((250, 150, 30), "orange"),
        ((240, 230, 40), "yellow"),
        ((30, 160, 50), "green"),
        ((30, 60, 200), "blue"),
        ((130, 40, 200), "purple"),
        ((250, 120, 190), "pink"),
        ((110, 65, 30), "brown"),
    ],
)
def test_colours_have_their_common_names(color: tuple[int, int, int], name: str) -> None:
    features = image_features(flat(color))
    assert features["dominant_color"] == name
    assert (features["dominant_hue"] is None) == (name in ("black", "white", "gray"))


def test_the_hue_of_red_is_not_the_mean_of_both_ends_of_the_scale() -> None:
    halves = np.concatenate([flat((220, 0, 12)), flat((220, 12, 0))])
    hue = image_features(halves)["dominant_hue"]
    assert min(hue, 360 - hue) < 6


def test_flat_images_have_no_contrast_and_no_complexity() -> None:
    features = image_features(flat((51, 51, 51), (100, 25)))
    assert features["aspect"] == 4.0
    assert features["brightness"] == pytest.approx(0.2, abs=1e-3)
    assert (features["contrast"], features["complexity"], features["colorfulness"]) == (0.0, 0.0, 0.0)


def test_half_black_half_white_has_the_highest_contrast() -> None:
    halves = np.concatenate([flat((0, 0, 0)), flat((255, 255, 255))])
    assert image_features(halves)["contrast"] == pytest.approx(0.5, abs=0.01)


def test_colorfulness_follows_hasler_and_suesstrunk() -> None:
    """Compared with the formula of the paper on an image that needs no scaling."""
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    red, green, blue = (rgb[..., i].astype(float) for i in range(3))
    rg, yb = red - green, 0.5 * (red + green) - blue
    expected = np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
    assert image_features(rgb)["colorfulness"] == pytest.approx(expected, abs=0.02)


def test_photographs_stay_within_the_ranges() -> None:
    for name in sorted(photos.rows())[::6]:
        features = image_features(photo(name))
        assert 0 <= features["brightness"] <= 1
        assert 0 <= features["contrast"] <= 0.5
        assert 0 <= features["colorfulness"] < 130
        assert 0 <= features["complexity"] <= 6
        assert features["dominant_color"] in COLOR_NAMES
        assert 0 <= features["phash"] < 2**64


def test_the_hash_recognizes_an_image_and_separates_others() -> None:
    names = sorted(photos.rows())[::4]
    hashes = [image_features(photo(name))["phash"] for name in names]
    for name, original in zip(names, hashes, strict=True):
        image = Image.fromarray(photo(name))
        smaller = image.resize((image.width * 2 // 3, image.height * 2 // 3), Image.Resampling.BICUBIC)
        again = image_features(decode(encoded(smaller, "JPEG", quality=60)))["phash"]
        assert (again ^ original).bit_count() <= 8
        assert (image_features(np.asarray(ImageOps.flip(image)))["phash"] ^ original).bit_count() > 8
    apart = [(a ^ b).bit_count() for i, a in enumerate(hashes) for b in hashes[:i]]
    assert np.median(apart) > 24

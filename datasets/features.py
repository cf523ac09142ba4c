"""Measures of how an image looks, for filters: colour, brightness, complexity, perceptual hash.

All are measured on the image scaled to 64 × 64 pixels, so that they cost little and do not depend on its size.
Shapes: H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

_SIDE = 64
_GROUP = 16  # images that are measured at once: their values stay in the cache
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# The eleven basic colour terms (Berlin & Kay 1969). Each pair is the end of a range of hues in degrees, and its colour.
# Value and saturation decide about black, white and gray; brown is dark orange, pink is light or purplish red.
_HUES = ((15, "red"), (45, "orange"), (70, "yellow"), (165, "green"), (255, "blue"), (300, "purple"), (340, "pink"))
COLOR_NAMES = ("black", "white", "gray", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")


def image_features(rgb_HWC: np.ndarray) -> dict[str, Any]:
    """The features of an image, `rgb_HWC` uint8.

    Returns:
        `aspect`: width divided by height, > 0.
        `brightness`: mean of the luma Y' of ITU-R BT.601, 0 to 1.
        `contrast`: its standard deviation (RMS contrast, Peli 1990), 0 to 0.5.
        `colorfulness`: M of Hasler & Süsstrunk 2003, equation 12, from 0 (grey) to about 110 (extremely colourful).
        `dominant_color`: the name of `COLOR_NAMES` that fits the most pixels.
        `dominant_hue`: mean hue of those pixels in degrees, 0 to 360; None for black, white and gray.
        `complexity`: Shannon entropy of the luma's gradient magnitudes in 64 bins, 0 (flat) to 6 bits.
        `phash`: 64-bit DCT hash (Zauner 2010), as an unsigned integer; near-duplicates differ in few bits.
    """
    return features_of([thumbnail(rgb_HWC)])[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """What the features of an image are measured on.

    Attributes:
        rgb_HWC: 64 × 64 × 3, uint8.
        aspect: width divided by height of the image itself.
    """

    rgb_HWC: np.ndarray
    aspect: float


def thumbnail(rgb_HWC: np.ndarray) -> Thumbnail:
    """The thumbnail of an image, `rgb_HWC` uint8."""
    height, width = rgb_HWC.shape[:2]
    image = Image.new("RGB", (width, height), None)  # `Image.fromarray` would make it black first
    image.frombytes(np.ascontiguousarray(rgb_HWC))
    small = image.resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=1.0)
    return Thumbnail(rgb_HWC=np.asarray(small), aspect=width / height)


def features_of(thumbnails: Sequence[Thumbnail]) -> list[dict[str, Any]]:
    """The features of several images, in half the time of one by one; see `image_features`."""
    groups = (thumbnails[start : start + _GROUP] for start in range(0, len(thumbnails), _GROUP))
    return [features for group in groups for features in _features_of_group(group)]


def _features_of_group(thumbnails: Sequence[Thumbnail]) -> list[dict[str, Any]]:
    small_BHWC = np.stack([small.rgb_HWC for small in thumbnails])
    rgb_BHWC = small_BHWC.astype(np.float32)
    luma_BHW = rgb_BHWC @ _LUMA
    luma_BN = luma_BHW.reshape(len(luma_BHW), -1)
    # All images of the group as one, above each other.
    hsv = np.asarray(Image.fromarray(small_BHWC.reshape(-1, _SIDE, 3)).convert("HSV"))
    measured = zip(
        thumbnails,
        luma_BN.mean(axis=1).tolist(),
        luma_BN.std(axis=1).tolist(),
        _colorfulness(rgb_BHWC),
        _dominant(hsv.reshape(len(luma_BHW), -1, 3)),
        _gradient_entropy(luma_BHW),
        _phash(luma_BHW),
        strict=True,
    )
    return [
        {
            "aspect": round(small.aspect, 4),
            "brightness": round(brightness / 255, 4),
            "contrast": round(contrast / 255, 4),
            "colorfulness": round(colorfulness, 2),
            "dominant_color": color,
            "dominant_hue": hue,
            "complexity": round(complexity, 3),
            "phash": phash,
        }
        for small, brightness, contrast, colorfulness, (color, hue), complexity, phash in measured
    ]


def _colorfulness(rgb_BHWC: np.ndarray) -> list[float]:
    red, green, blue = rgb_BHWC[..., 0], rgb_BHWC[..., 1], rgb_BHWC[..., 2]
    rg_BN = (red - green).reshape(len(rgb_BHWC), -1)
    yb_BN = ((red + green) / 2 - blue).reshape(len(rgb_BHWC), -1)
    spread_B = np.hypot(rg_BN.std(axis=1), yb_BN.std(axis=1))
    return (spread_B + 0.3 * np.hypot(rg_BN.mean(axis=1), yb_BN.mean(axis=1))).tolist()


def _name_table() -> np.ndarray:
    """The position in `COLOR_NAMES` for every 6-bit hue, 4-bit saturation and 4-bit value, uint8 (64, 16, 16)."""
    table = np.empty((64, 16, 16), np.uint8)
    for hue in range(64):
        for saturation in range(16):
            for value in range(16):
                name = _color_name((hue + 0.5) / 64 * 360, (saturation + 0.5) / 16, (value + 0.5) / 16)
                table[hue, saturation, value] = COLOR_NAMES.index(name)
    return table


def _color_name(hue: float, saturation: float, value: float) -> str:
    if value < 0.18:
        return "black"
    if saturation < 0.16:
        return "white" if value > 0.82 else "gray"
    name = next((name for end, name in _HUES if hue < end), "red")
    if name in ("red", "orange") and hue >= 10 and value < 0.62:
        return "brown"
    return "pink" if name == "red" and saturation < 0.5 and value > 0.75 else name


_NAMES_OF_COLORS = _name_table().ravel()
_ANGLES = np.arange(256, dtype=np.uint8) * np.float32(2 * np.pi / 256)
_SINES, _COSINES = np.sin(_ANGLES), np.cos(_ANGLES)


def _dominant(hsv_BN3: np.ndarray) -> list[tuple[str, float | None]]:
    hue_BN, saturation_BN, value_BN = hsv_BN3[..., 0], hsv_BN3[..., 1], hsv_BN3[..., 2]
    cells_BN = ((hue_BN >> 2).astype(np.uint16) << 8) | (saturation_BN & 0xF0) | (value_BN >> 4)
    names_BN = _NAMES_OF_COLORS[cells_BN]
    return [_mean_hue(hue_N, names_N) for hue_N, names_N in zip(hue_BN, names_BN, strict=True)]


def _mean_hue(hue_N: np.ndarray, names_N: np.ndarray) -> tuple[str, float | None]:
    position = int(np.bincount(names_N, minlength=len(COLOR_NAMES)).argmax())
    name = COLOR_NAMES[position]
    if name in ("black", "white", "gray"):
        return name, None
    # The mean of angles, because red is at both ends of the scale.
    hues = hue_N[names_N == position]
    mean = np.degrees(np.arctan2(_SINES[hues].mean(), _COSINES[hues].mean()))
    return name, round(float(mean) % 360, 1)


def _gradient_entropy(luma_BHW: np.ndarray) -> list[float]:
    across, down = np.diff(luma_BHW, axis=2)[:, :-1], np.diff(luma_BHW, axis=1)[:, :, :-1]
    bins_BN = np.minimum(np.hypot(across, down) / 4, 63).astype(np.intp).reshape(len(luma_BHW), -1)
    return [_entropy(np.bincount(bins_N, minlength=64) / bins_N.size) for bins_N in bins_BN]


def _entropy(share: np.ndarray) -> float:
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum()) + 0.0


def _dct_matrix(side: int, kept: int) -> np.ndarray:
    positions, frequencies = np.arange(side), np.arange(kept)[:, None]
    return np.cos(np.pi * frequencies * (2 * positions + 1) / (2 * side)).astype(np.float32)


_DCT = _dct_matrix(32, 8)


def _phash(luma_BHW: np.ndarray) -> list[int]:
    """The signs of the 8 × 8 lowest DCT coefficients of the 32 × 32 image, relative to their median."""
    half_BHW = luma_BHW.reshape(-1, 32, 2, 32, 2).mean(axis=(2, 4))
    low_BN = (_DCT @ half_BHW @ _DCT.T).reshape(len(luma_BHW), -1)
    medians_B = np.median(low_BN[:, 1:], axis=1)  # without the mean brightness, which says nothing about the content
    return np.packbits(low_BN > medians_B[:, None], axis=1).view(">u8")[:, 0].tolist()

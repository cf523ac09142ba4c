"""Measures of how an image looks, for filters: colour, brightness, complexity, perceptual hash.

All are measured on the image scaled to 64 × 64 pixels, so that they cost little and do not depend on its size.
Shapes: H height, W width, C channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

_SIDE = 64
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
    height, width = rgb_HWC.shape[:2]
    small = Image.fromarray(rgb_HWC).resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=1.0)
    rgb = np.asarray(small, np.float32)
    luma_HW = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    color, hue = _dominant(np.asarray(small.convert("HSV")).reshape(-1, 3))
    return {
        "aspect": round(width / height, 4),
        "brightness": round(float(luma_HW.mean()) / 255, 4),
        "contrast": round(float(luma_HW.std()) / 255, 4),
        "colorfulness": round(_colorfulness(rgb), 2),
        "dominant_color": color,
        "dominant_hue": hue,
        "complexity": round(_gradient_entropy(luma_HW), 3),
        "phash": _phash(luma_HW),
    }


def _colorfulness(rgb_HWC: np.ndarray) -> float:
    red, green, blue = rgb_HWC[..., 0], rgb_HWC[..., 1], rgb_HWC[..., 2]
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


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


_NAMES_OF_COLORS = _name_table()


def _dominant(hsv_N3: np.ndarray) -> tuple[str, float | None]:
    names_N = _NAMES_OF_COLORS[hsv_N3[:, 0] >> 2, hsv_N3[:, 1] >> 4, hsv_N3[:, 2] >> 4]
    position = int(np.bincount(names_N, minlength=len(COLOR_NAMES)).argmax())
    name = COLOR_NAMES[position]
    if name in ("black", "white", "gray"):
        return name, None
    # The mean of angles, because red is at both ends of the scale.
    angles = hsv_N3[names_N == position, 0] * np.float32(2 * np.pi / 256)
    mean = np.degrees(np.arctan2(np.sin(angles).mean(), np.cos(angles).mean()))
    return name, round(float(mean) % 360, 1)


def _gradient_entropy(luma_HW: np.ndarray) -> float:
    across, down = np.diff(luma_HW, axis=1)[:-1], np.diff(luma_HW, axis=0)[:, :-1]
    bins = np.minimum(np.hypot(across, down) / 4, 63).astype(np.intp).ravel()
    share = np.bincount(bins, minlength=64) / bins.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum()) + 0.0


def _dct_matrix(side: int, kept: int) -> np.ndarray:
    positions, frequencies = np.arange(side), np.arange(kept)[:, None]
    return np.cos(np.pi * frequencies * (2 * positions + 1) / (2 * side)).astype(np.float32)


_DCT = _dct_matrix(32, 8)


def _phash(luma_HW: np.ndarray) -> int:
    """The signs of the 8 × 8 lowest DCT coefficients of the 32 × 32 image, relative to their median."""
    half = luma_HW.reshape(32, 2, 32, 2).mean(axis=(1, 3))
    low = (_DCT @ half @ _DCT.T).ravel()
    bits = low > np.median(low[1:])  # without the mean brightness, which says nothing about the content
    return int.from_bytes(np.packbits(bits).tobytes(), "big")

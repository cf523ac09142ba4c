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
    rgb_BHWC = np.stack([small.rgb_HWC for small in thumbnails])
    rgb_CBN = np.ascontiguousarray(rgb_BHWC.reshape(len(rgb_BHWC), -1, 3).transpose(2, 0, 1))
    luma_BHW = rgb_BHWC.astype(np.float32) @ _LUMA
    brightness_B, contrast_B = _mean_and_std(luma_BHW.reshape(len(luma_BHW), -1))
    measured = zip(
        thumbnails,
        brightness_B.tolist(),
        contrast_B.tolist(),
        _colorfulness(rgb_CBN),
        _dominant(rgb_CBN),
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


def _mean_and_std(values_BN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of numpy's `mean` and `std` to the last bit; it would compute the mean twice."""
    mean_B = values_BN.mean(axis=1)
    deviation_BN = values_BN - mean_B[:, None]
    return mean_B, np.sqrt(np.square(deviation_BN, out=deviation_BN).mean(axis=1))


def _colorfulness(rgb_CBN: np.ndarray) -> list[float]:
    red, green, blue = rgb_CBN.astype(np.float32)
    rg_B, rg_std_B = _mean_and_std(red - green)
    yb_B, yb_std_B = _mean_and_std((red + green) / 2 - blue)
    return (np.hypot(rg_std_B, yb_std_B) + 0.3 * np.hypot(rg_B, yb_B)).tolist()


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


def _hue_table() -> np.ndarray:
    """Pillow's 8-bit hue of every colour, by the index of `_hue_and_saturation`: uint8, 2¹⁹."""
    order, spread, middle = np.indices((8, 256, 256), np.uint8).reshape(3, -1)
    red_least, green_least, red_less = order & 4 > 0, order & 2 > 0, order & 1 > 0  # than green, than blue, than blue
    ranks = np.stack([
        2 - red_least.astype(np.uint8) - red_less, 1 + red_least.astype(np.uint8) - green_least,
        green_least.astype(np.uint8) + red_less,
    ], axis=1)  # fmt: skip
    rgb_N3 = np.choose(ranks, [np.uint8(0), np.minimum(middle, spread)[:, None], spread[:, None]])
    return _in_hsv(rgb_N3)[:, 0]


def _saturation_table() -> np.ndarray:
    """Pillow's 8-bit saturation for every largest value of the three and every spread of them: uint8, 2¹⁶."""
    most, spread = np.indices((256, 256), np.uint8).reshape(2, -1)
    least = most - np.minimum(spread, most)
    return _in_hsv(np.stack([most, least, least], axis=1))[:, 1]


def _in_hsv(rgb_N3: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb_N3[None]).convert("HSV"))[0]


_NAMES_OF_COLORS = _name_table().ravel()
_HUES_OF_COLORS, _SATURATIONS = _hue_table(), _saturation_table()
_ANGLES = np.arange(256, dtype=np.uint8) * np.float32(2 * np.pi / 256)
_SINES, _COSINES = np.sin(_ANGLES), np.cos(_ANGLES)


def _dominant(rgb_CBN: np.ndarray) -> list[tuple[str, float | None]]:
    hue_BN, saturation_BN, value_BN = _hsv(rgb_CBN)
    cells_BN = ((hue_BN >> 2).astype(np.intp) << 8) | ((saturation_BN & 0xF0) | (value_BN >> 4))
    names_BN = _NAMES_OF_COLORS[cells_BN]
    most_B = _counts(names_BN, len(COLOR_NAMES)).argmax(axis=1).tolist()
    return [_mean_hue(hue_N, names_N, most) for hue_N, names_N, most in zip(hue_BN, names_BN, most_B, strict=True)]


def _hsv(rgb_CBN: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pillow's hue, saturation and value, from tables that Pillow has made, in a third of its time.

    The hue depends on which of red, green and blue are less than which, on the difference of the largest and the least
    of them, and on that of the middle one and the least.
    """
    red, green, blue = rgb_CBN
    most = np.maximum(np.maximum(red, green), blue)
    least = np.minimum(np.minimum(red, green), blue)
    spread = most - least
    middle = red + green + blue - most - least - least  # modulo 256, as all its terms are
    order = ((red < green).view(np.uint8) << 2) | ((green < blue).view(np.uint8) << 1) | (red < blue).view(np.uint8)
    hue = _HUES_OF_COLORS[(order.astype(np.intp) << 16) | (spread.astype(np.intp) << 8) | middle]
    return hue, _SATURATIONS[(most.astype(np.intp) << 8) | spread], most


def _mean_hue(hue_N: np.ndarray, names_N: np.ndarray, position: int) -> tuple[str, float | None]:
    name = COLOR_NAMES[position]
    if name in ("black", "white", "gray"):
        return name, None
    # The mean of angles, because red is at both ends of the scale.
    hues = hue_N[names_N == position].astype(np.intp)
    mean = np.degrees(np.arctan2(_SINES[hues].mean(), _COSINES[hues].mean()))
    return name, round(float(mean) % 360, 1)


def _gradient_entropy(luma_BHW: np.ndarray) -> list[float]:
    across, down = np.diff(luma_BHW, axis=2)[:, :-1], np.diff(luma_BHW, axis=1)[:, :, :-1]
    # As glibc's `hypotf` does it, but for many values at once: no rounding before the last one.
    squares_BHW = np.square(across, dtype=np.float64)
    squares_BHW += np.square(down, dtype=np.float64)
    lengths_BHW = np.sqrt(squares_BHW, out=squares_BHW).astype(np.float32)
    bins_BN = np.minimum(lengths_BHW / 4, 63).astype(np.intp).reshape(len(luma_BHW), -1)
    return [_entropy(count_N / bins_BN.shape[1]) for count_N in _counts(bins_BN, 64)]


def _counts(values_BN: np.ndarray, most: int) -> np.ndarray:
    """How often each whole number below `most` is among the values of each row, (B, most)."""
    starts_B = np.arange(0, len(values_BN) * most, most)
    return np.bincount((values_BN + starts_B[:, None]).ravel(), minlength=len(values_BN) * most).reshape(-1, most)


def _entropy(share: np.ndarray) -> float:
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum()) + 0.0


def _dct_matrix(side: int, kept: int) -> np.ndarray:
    positions, frequencies = np.arange(side), np.arange(kept)[:, None]
    return np.cos(np.pi * frequencies * (2 * positions + 1) / (2 * side)).astype(np.float32)


_DCT = _dct_matrix(32, 8)


def _phash(luma_BHW: np.ndarray) -> list[int]:
    """The signs of the 8 × 8 lowest DCT coefficients of the 32 × 32 image, relative to their median."""
    pairs_BHW = luma_BHW[..., ::2] + luma_BHW[..., 1::2]
    half_BHW = (pairs_BHW[:, ::2] + pairs_BHW[:, 1::2]) / 4
    low_BN = (_DCT @ half_BHW @ _DCT.T).reshape(len(luma_BHW), -1)
    rest_BN = low_BN[:, 1:]  # without the mean brightness, which says nothing about the content
    middle = rest_BN.shape[1] // 2
    medians_B = np.partition(rest_BN, middle, axis=1)[:, middle]
    return np.packbits(low_BN > medians_B[:, None], axis=1).view(">u8")[:, 0].tolist()

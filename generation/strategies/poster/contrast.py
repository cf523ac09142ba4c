"""Makes text readable on an image: black or white by contrast, and a scrim under it if neither is enough.

Contrast is that of WCAG 2.2, from 1 to 21: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio. Text needs 4.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

RGB = tuple[int, int, int]
Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

WHITE: RGB = (255, 255, 255)
INK: RGB = (20, 20, 22)
# The share of the pixels under a text that must have the contrast: a few bright points do not hide a text.
_SHARE = 0.97
# White looks better on colours darker than this luminance, and black on lighter ones, although black has more contrast
# on most of them.
_MIDDLE = 0.3
# The preferred colour is taken unless its scrim needs this much more opacity.
_PREFERENCE = 0.3
_EVEN = 0.18  # the luminance with equal contrast to black and to white
_COLORS = 6  # from which the colour of a field is chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Legibility:
    """How a text is made readable.

    Attributes:
        color: of the text.
        scrim: the colour that is blended over the image under the text.
        opacity: of the scrim; 0 for no scrim.
        before: the contrast without the scrim.
        after: the contrast with the scrim.
    """

    color: RGB
    scrim: RGB
    opacity: float
    before: float
    after: float


def legibility(image: Image.Image, boxes: Sequence[Box], *, contrast: float, color: RGB | None = None) -> Legibility:
    """Chooses the colour of a text, and the lightest scrim that gives it enough contrast.

    Args:
        image: RGB.
        boxes: of the lines of the text, in pixels.
        contrast: that 97 % of the pixels in the boxes must reach.
        color: of the text; None for the better one of white and near black.
    """
    pixels_N3 = np.concatenate([_crop(image, box) for box in boxes])
    if color:
        return _with_scrim(pixels_N3, color, contrast)
    preferred = WHITE if np.median(relative_luminance(pixels_N3)) < _MIDDLE else INK
    choices = [_with_scrim(pixels_N3, choice, contrast) for choice in (WHITE, INK)]
    return min(choices, key=lambda choice: choice.opacity + _PREFERENCE * (choice.color != preferred))


def field_color(image: Image.Image, contrast: float, color: RGB | None = None) -> RGB:
    """Returns a colour for a field beside an image: a colour of the image, made dark or light enough for text.

    Args:
        image: RGB.
        contrast: between text and field. For a text of medium luminance it is the highest possible contrast.
        color: of the text; None for the better one of white and near black.
    """
    small = image.convert("RGB").resize((64, 64), Image.Resampling.BOX)
    palette = small.quantize(_COLORS, method=Image.Quantize.MEDIANCUT).convert("RGB").getcolors()
    assert palette is not None, "an image of 6 colours has at most 256"
    # Prefer a colour that is both common and colourful; for a grey image, the most common one.
    counted = ((np.array(rgb, dtype=np.float64), count) for count, rgb in palette)
    rgb_3, _ = max(counted, key=lambda pair: pair[1] ** 0.5 * (np.ptp(pair[0]) + 16))
    text = color or (WHITE if relative_luminance(rgb_3) < _MIDDLE else INK)
    luminance = relative_luminance(np.array(text))
    end = 0.0 if luminance > _EVEN else 255.0
    mixes = [rgb_3 * (1 - share) + end * share for share in np.linspace(0, 1, 41)]
    fit = (mix for mix in mixes if contrast_ratio(relative_luminance(mix), luminance) >= contrast)
    red, green, blue = next(fit, mixes[-1])
    return round(red), round(green), round(blue)


def _with_scrim(pixels_N3: np.ndarray, color: RGB, contrast: float) -> Legibility:
    light = relative_luminance(np.array(color)) > _EVEN
    # A trace of the colour of the image makes the scrim look like shade or haze.
    end = 0.0 if light else 255.0
    scrim_3 = 0.12 * pixels_N3.mean(0) + 0.88 * end

    def reached(opacity: float) -> float:
        mixed_N3 = pixels_N3 * (1 - opacity) + scrim_3 * opacity
        ratios_N = contrast_ratio(relative_luminance(mixed_N3), relative_luminance(np.array(color)))
        return float(np.quantile(ratios_N, 1 - _SHARE))

    before = reached(0.0)
    opacity = 0.0
    if before < contrast:
        low, opacity = 0.0, 1.0
        for _ in range(10):
            middle = (low + opacity) / 2
            low, opacity = (low, middle) if reached(middle) >= contrast else (middle, opacity)
    red, green, blue = (round(float(value)) for value in scrim_3)
    return Legibility(color=color, scrim=(red, green, blue), opacity=opacity, before=before, after=reached(opacity))


def draw_scrim(image: Image.Image, band: Box, falloff: float, scrim: RGB, opacity: float) -> Image.Image:
    """Blends the scrim over an image: fully inside the band, then fading out over `falloff` pixels."""
    left, top, right, bottom = band
    x_W, y_H = np.arange(image.width) + 0.5, np.arange(image.height) + 0.5
    dx_W = np.maximum(np.maximum(left - x_W, x_W - right), 0)
    dy_H = np.maximum(np.maximum(top - y_H, y_H - bottom), 0)
    near_HW = np.clip(1 - np.hypot(dx_W[None, :], dy_H[:, None]) / falloff, 0, 1)
    mix_HW = opacity * near_HW**2 * (3 - 2 * near_HW)  # smooth at both ends
    pixels_HW3 = np.asarray(image, dtype=np.float32)
    mixed_HW3 = pixels_HW3 * (1 - mix_HW[..., None]) + np.array(scrim, dtype=np.float32) * mix_HW[..., None]
    return Image.fromarray(np.rint(mixed_HW3).astype(np.uint8))


def relative_luminance(rgb_N3: np.ndarray) -> np.ndarray:
    """Returns the relative luminance of sRGB values from 0 to 255 (last axis: channels): 0 for black to 1 for white."""
    value = np.asarray(rgb_N3, dtype=np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def contrast_ratio(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the contrast ratio of two relative luminances, 1 to 21."""
    return (np.maximum(first, second) + 0.05) / (np.minimum(first, second) + 0.05)


def _crop(image: Image.Image, box: Box) -> np.ndarray:
    """Returns the pixels of a box that are inside the image, `rgb_N3`, float64."""
    left, top, right, bottom = box
    inside = (
        max(0, int(left)), max(0, int(top)), min(image.width, int(right) + 1), min(image.height, int(bottom) + 1)
    )  # fmt: skip
    return np.asarray(image.crop(inside), dtype=np.float64).reshape(-1, 3)

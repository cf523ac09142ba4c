"""Sizes: which size a model works at, how a reference is fitted to it, and how the result gets its size back.

Models work at multiples of 8 or 16 px, near the area that they were trained at. By default, diffusers silently rounds
other sizes down and squashes a batch to the size of its first image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from PIL import Image

Size: TypeAlias = tuple[int, int]  # width, height
Fit: TypeAlias = Literal["crop", "pad"]

FITS: tuple[Fit, ...] = get_args(Fit)
MOST_SIDE = 16384  # pixels of a result
_MOST_ASPECT = 32  # of a result whose shape is that of its reference: 64 px of height make no picture of 4 million


@dataclass(frozen=True, slots=True)
class Canvas:
    """The size that the model works at, and the size of the result; width × height in pixels."""

    worked: Size
    result: Size


def plan_canvas(reference: Size | None, *, width: int | None, height: int | None, pixels: int, multiple: int) -> Canvas:
    """Chooses the sizes. If width or height is missing, the shape is that of the reference, or a square without one.

    Args:
        reference: width and height of the first reference; None if there is none.
        width: of the result in pixels; None if it is not asked for.
        height: of the result in pixels; None if it is not asked for.
        pixels: the largest area that the model works at. The working size comes as near to it as `multiple` allows,
            whatever the size of the result.
        multiple: width and height of the working size must be multiples of it.

    Returns:
        The sizes. If neither width nor height is asked for, the result has the working size. A side that follows the
        shape of the reference is at most 32 times as long as the one that is given.
    """
    shape = reference or (1, 1)
    if width and height:
        shape = (width, height)
    worked = _worked(shape, pixels, multiple)
    if not width and not height:
        return Canvas(worked, worked)
    width = width or _followed(height or 1, shape[0] / shape[1])
    height = height or _followed(width, shape[1] / shape[0])
    return Canvas(worked, (width, height))


def _followed(side: int, ratio: float) -> int:
    """Returns the other side of a result of which one side is given."""
    return max(1, min(round(side * ratio), side * _MOST_ASPECT, MOST_SIDE))


def _worked(shape: Size, pixels: int, multiple: int) -> Size:
    def floored(side: float) -> int:
        return max(multiple, int(round(side, 6) // multiple) * multiple)  # without round, 511.99… would lose 8 px

    aspect = shape[0] / shape[1]
    width, height = floored(math.sqrt(pixels * aspect)), floored(math.sqrt(pixels / aspect))
    # A very long image is at least one multiple high, so it must be shorter.
    return min(width, floored(pixels / height)), min(height, floored(pixels / width))


def fit(image: Image.Image, canvas: Canvas, how: Fit) -> Image.Image:
    """Returns a reference at the working size, RGB.

    The part that is kept has the shape of the result. Rounding to multiples stretches it a little; `restore` undoes
    that.

    Args:
        image: of any size. Transparent parts become white, because diffusers takes a fourth channel for latents.
        canvas: the sizes.
        how: `crop` keeps the largest centred part with the shape of the result; `pad` keeps the whole image and
            repeats its edges.
    """
    image = flatten(image)
    scale_x, scale_y = (canvas.worked[axis] / canvas.result[axis] for axis in (0, 1))
    ratios = (canvas.result[0] / image.width, canvas.result[1] / image.height)
    if how == "crop":
        kept = (canvas.result[0] / max(ratios), canvas.result[1] / max(ratios))
        left, top = (
            max(0.0, (image.width - kept[0]) / 2),
            max(0.0, (image.height - kept[1]) / 2),
        )  # Pillow refuses −1e−14
        box = (left, top, min(left + kept[0], image.width), min(top + kept[1], image.height))
        return image.resize(canvas.worked, Image.Resampling.LANCZOS, box=box)
    inner = (
        min(canvas.worked[0], max(1, round(image.width * min(ratios) * scale_x))),
        min(canvas.worked[1], max(1, round(image.height * min(ratios) * scale_y))),
    )
    rgb_HWC = np.asarray(image.resize(inner, Image.Resampling.LANCZOS))
    missing = [canvas.worked[axis] - inner[axis] for axis in (0, 1)]
    sides = [(gap // 2, gap - gap // 2) for gap in missing]
    return Image.fromarray(np.pad(rgb_HWC, (sides[1], sides[0], (0, 0)), mode="edge"))


def restore(image: Image.Image, size: Size) -> Image.Image:
    """Returns a generated image at the size that was asked for."""
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def flatten(image: Image.Image) -> Image.Image:
    """Returns the image as RGB on a white background."""
    if image.mode == "RGB":
        return image
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")

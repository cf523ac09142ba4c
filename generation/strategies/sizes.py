"""Sizes: what a model can work at, how a reference is fitted to it, and back.

Models work at multiples of 8 or 16 px, near the area that they were trained at. Left to itself, diffusers floors odd
sizes and squashes a batch to the size of its first picture without a word.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

Size = tuple[int, int]  # width, height

FITS = ("crop", "pad")


@dataclass(frozen=True, slots=True)
class Canvas:
    """The size that the model works at, and that of the picture which is handed back; width × height."""

    worked: Size
    result: Size


def plan_canvas(reference: Size | None, *, width: int | None, height: int | None, pixels: int, multiple: int) -> Canvas:
    """Chooses sizes: of the asked width and height, of the reference's shape where one is missing, else a square.

    The model works at `pixels` at most and as near to them as multiples allow, whatever the size of the result. Where
    neither width nor height is asked for, the result is what the model has worked at.
    """
    shape = reference or (1, 1)
    if width and height:
        shape = (width, height)
    worked = _worked(shape, pixels, multiple)
    if not width and not height:
        return Canvas(worked, worked)
    width = width or max(1, round((height or 1) * shape[0] / shape[1]))
    height = height or max(1, round(width * shape[1] / shape[0]))
    return Canvas(worked, (width, height))


def _worked(shape: Size, pixels: int, multiple: int) -> Size:
    def floored(side: float) -> int:
        return max(multiple, int(round(side, 6) // multiple) * multiple)  # rounded, or 512 may be 511.99… and lose 8 px

    aspect = shape[0] / shape[1]
    width, height = floored(math.sqrt(pixels * aspect)), floored(math.sqrt(pixels / aspect))
    # A very long picture is a multiple high at least, so it has to be shorter.
    return min(width, floored(pixels / height)), min(height, floored(pixels / width))


def fit(image: Image.Image, canvas: Canvas, how: str) -> Image.Image:
    """A reference at the size that the model works at, RGB.

    What is kept has the shape of the result: `restore` undoes the little that multiples stretch it by.

    Args:
        image: of any size; transparent parts become white, since diffusers takes a fourth channel for latents.
        canvas: the sizes.
        how: `crop` takes the largest middle part of the result's shape; `pad` keeps all and repeats the edges.
    """
    image = flatten(image)
    scale_x, scale_y = (canvas.worked[axis] / canvas.result[axis] for axis in (0, 1))
    ratios = (canvas.result[0] / image.width, canvas.result[1] / image.height)
    if how == "crop":
        kept = (canvas.result[0] / max(ratios), canvas.result[1] / max(ratios))
        left, top = max(0.0, (image.width - kept[0]) / 2), max(0.0, (image.height - kept[1]) / 2)  # −1e−14 is refused
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
    """A picture that was made, at the size that it was asked for."""
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def flatten(image: Image.Image) -> Image.Image:
    """RGB, transparent parts white."""
    if image.mode == "RGB":
        return image
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")

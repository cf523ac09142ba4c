"""The two libraries that resize images, Pillow and torch. A spec names one, because their pixels differ a little.

Shapes: H height, W width, C channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .spec import Interpolation, Resizer

# What torch has with antialiasing, and the pixels that the filter reaches to each side at scale 1.
_IN_TORCH = {"bicubic": ("_upsample_bicubic2d_aa", 2), "bilinear": ("_upsample_bilinear2d_aa", 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What becomes of an image: it is resized to `height` × `width`, of which a square of `side` is kept.

    Where the square begins outside of the resized image, at a negative `top` or `left`, its margin is black.
    """

    height: int
    width: int
    top: int
    left: int
    side: int


def resizer_for(interpolation: Interpolation) -> Resizer:
    """The resizer of a new encoder: torch, which is faster, where it has the filter."""
    return "torch" if interpolation in _IN_TORCH else "pillow"


def with_pillow(rgb_HWC: np.ndarray, target: Target, interpolation: Interpolation) -> np.ndarray:
    """Resizes with Pillow, as the reference code of most models: `pixels_CHW` uint8, contiguous."""
    from PIL import Image

    image = Image.fromarray(rgb_HWC).resize((target.width, target.height), Image.Resampling[interpolation.upper()])
    image = image.crop((target.left, target.top, target.left + target.side, target.top + target.side))
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def with_torch(rgb_HWC: np.ndarray, target: Target, interpolation: Interpolation) -> np.ndarray:
    """Resizes with torch's antialiased kernel for uint8: `pixels_CHW` uint8, a view of memory in the order H×W×C.

    The kernel is told the scale, which `torch.nn.functional.interpolate` would compute from the sizes. So it computes
    nothing below and right of the square that is kept, and reads no rows for that; the pixels stay exactly the same.
    Above and left it cannot stop, because it has no argument for the position between two source pixels.
    """
    import torch

    if not (rgb_HWC.flags.writeable and rgb_HWC.flags.c_contiguous):  # torch has no read-only tensors
        rgb_HWC = np.array(rgb_HWC)
    name, reach = _IN_TORCH[interpolation]
    kernel: Any = getattr(torch.ops.aten, name).out  # the other variant returns C×H×W
    down, right = target.height / rgb_HWC.shape[0], target.width / rgb_HWC.shape[1]
    bottom, end = min(target.height, target.top + target.side), min(target.width, target.left + target.side)
    rows = math.ceil(bottom / down + reach / min(down, 1)) + 1
    # The kernel takes an axis whose number of pixels does not change for one that is not resized.
    end += end == rgb_HWC.shape[1] and end < target.width
    if min(rows, rgb_HWC.shape[0]) == bottom and target.height != rgb_HWC.shape[0]:
        rows, bottom = rows + 1, bottom + (rows >= rgb_HWC.shape[0])
    image_1CHW = torch.from_numpy(rgb_HWC[:rows]).permute(2, 0, 1)[None]
    resized_HWC = np.empty((bottom, end, 3), np.uint8)
    out_1CHW = torch.from_numpy(resized_HWC).permute(2, 0, 1)[None]
    kernel(image_1CHW, [bottom, end], False, down, right, out=out_1CHW)
    top, left = max(0, target.top), max(0, target.left)
    kept_HWC = resized_HWC[top : target.top + target.side, left : target.left + target.side]
    if kept_HWC.shape[:2] != (target.side, target.side):
        top, left = max(0, -target.top), max(0, -target.left)
        padded_HWC = np.zeros((target.side, target.side, 3), np.uint8)
        padded_HWC[top : top + kept_HWC.shape[0], left : left + kept_HWC.shape[1]] = kept_HWC
        kept_HWC = padded_HWC
    return kept_HWC.transpose(2, 0, 1)


def has_filter(resizer: Resizer, interpolation: Interpolation) -> bool:
    """Whether a resizer has the filter; Pillow has all."""
    return resizer == "pillow" or interpolation in _IN_TORCH

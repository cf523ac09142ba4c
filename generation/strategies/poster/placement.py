"""Finds room for a text on an image: calm places, away from the subject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image, ImageFilter

from ..sizes import Size
from .contrast import Box

_MAP_SIDE = 96  # pixels of the long side of the small copy that is examined
_LEAST_SIDE = 3  # of its short side, which a gradient needs

Align: TypeAlias = Literal["left", "center", "right"]
Place: TypeAlias = Literal[
    "top-left", "top", "top-right", "left", "center", "right", "bottom-left", "bottom", "bottom-right"
]
Position: TypeAlias = Literal["auto", "below", Place]
_ALIGNS: dict[float, Align] = {0.0: "left", 0.5: "center", 1.0: "right"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A place for a block on an image.

    Attributes:
        x: from 0 (left) to 1.
        y: from 0 (top) to 1.
        width: the largest share of the safe area that the block may take.
        height: likewise.
    """

    x: float
    y: float
    width: float
    height: float

    @property
    def align(self) -> Align:
        """How lines are aligned in this place."""
        return _ALIGNS[self.x]

    def place(self, size: Size, block: tuple[float, float], margin: float) -> Box:
        """Returns the box of a block of a given size on an image of `size`, inside the margins; pixels."""
        left = margin + self.x * (size[0] - 2 * margin - block[0])
        top = margin + self.y * (size[1] - 2 * margin - block[1])
        return left, top, left + block[0], top + block[1]

    def band(self, size: Size, block: Box, pad: float) -> Box:
        """Returns the box to shade under a block: from the edge of the image to `pad` beyond the block.

        In the centre it is the whole image.
        """
        width, height = size
        _, top, _, bottom = block
        if self.y == 0.0:
            return 0.0, 0.0, width, bottom + pad
        if self.y == 1.0:
            return 0.0, top - pad, width, height
        if self.x == 0.0:
            return 0.0, 0.0, block[2] + pad, height
        if self.x == 1.0:
            return block[0] - pad, 0.0, width, height
        return 0.0, 0.0, width, height


ANCHORS: dict[Place, Anchor] = {
    "top-left": Anchor(x=0.0, y=0.0, width=0.62, height=0.46),
    "top": Anchor(x=0.5, y=0.0, width=1.0, height=0.4),
    "top-right": Anchor(x=1.0, y=0.0, width=0.62, height=0.46),
    "left": Anchor(x=0.0, y=0.5, width=0.46, height=1.0),
    "center": Anchor(x=0.5, y=0.5, width=0.9, height=0.8),
    "right": Anchor(x=1.0, y=0.5, width=0.46, height=1.0),
    "bottom-left": Anchor(x=0.0, y=1.0, width=0.62, height=0.46),
    "bottom": Anchor(x=0.5, y=1.0, width=1.0, height=0.4),
    "bottom-right": Anchor(x=1.0, y=1.0, width=0.62, height=0.46),
}


def activity(image: Image.Image) -> np.ndarray:
    """Returns how busy each part of an image is: edges, and colours that the border does not have.

    Returns:
        `map_hw`, float32 from 0 to 1, of a smaller size than the image.
    """
    small = image.copy()
    small.thumbnail((_MAP_SIDE, _MAP_SIDE), Image.Resampling.BOX, reducing_gap=None)
    if min(small.size) < _LEAST_SIDE:  # a strip
        small = small.resize((max(small.width, _LEAST_SIDE), max(small.height, _LEAST_SIDE)), Image.Resampling.NEAREST)
    ycc_hw3 = np.asarray(small.filter(ImageFilter.GaussianBlur(1)).convert("YCbCr"), dtype=np.float32)
    dy_hw, dx_hw = np.gradient(ycc_hw3[..., 0])
    edges_hw = np.hypot(dy_hw, dx_hw)
    border_N3 = np.concatenate(
        [ycc_hw3[:3].reshape(-1, 3), ycc_hw3[:, :3].reshape(-1, 3), ycc_hw3[:, -3:].reshape(-1, 3)]
    )
    # The distance to the nearest of some border colours, because both sky and ground are background.
    odd_hw = np.linalg.norm(ycc_hw3[:, :, None] - border_N3[None, None, ::7], axis=3).min(2)
    return _scaled(_blurred(_scaled(edges_hw) + _scaled(odd_hw), 3))


def _scaled(map_hw: np.ndarray) -> np.ndarray:
    return np.clip(map_hw / max(float(np.quantile(map_hw, 0.95)), 1e-6), 0, 1)


def _blurred(map_hw: np.ndarray, radius: float) -> np.ndarray:
    image = Image.fromarray(np.rint(255 * map_hw / max(float(map_hw.max()), 1e-6)).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) / 255


def disturbance(map_hw: np.ndarray, size: Size, box: Box, pad: float) -> float:
    """Returns how busy an image is under a box and `pad` pixels around it, 0 to 1; the busiest part counts most."""
    left, top, right, bottom = box
    width, height = size
    h, w = map_hw.shape
    rows = slice(int(max(top - pad, 0) / height * h), max(int(np.ceil((bottom + pad) / height * h)), 1))
    columns = slice(int(max(left - pad, 0) / width * w), max(int(np.ceil((right + pad) / width * w)), 1))
    below = map_hw[rows, columns]
    return float(0.4 * below.mean() + 0.6 * np.quantile(below, 0.95))

"""RGB pixels of any size → the encoder's uint8 input. Needs the spec alone, so decoding workers never load a model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from .spec import EncoderSpec

# Far more than what any interpolation reaches beyond the square in the middle.
_MOST_ELONGATED = 8
_INTERPOLATIONS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
# From the pixels that a crop leaves out to those of them that lie before it. The two ways differ where an odd number is
# left out: torchvision rounds (half to even), transformers cuts off.
_OFFSETS: dict[str, Callable[[int], int]] = {
    "shortest_edge_crop": lambda left_out: left_out // 2,
    "shortest_edge_crop_rounded": lambda left_out: round(left_out / 2),
}


def preprocess(rgb_HWC: np.ndarray, spec: EncoderSpec) -> np.ndarray:
    """`rgb_HWC` uint8 → `pixels_CHW` uint8 of `spec.image_size`, resized by Pillow as the reference code does."""
    image = Image.fromarray(_without_far_ends(rgb_HWC) if spec.resize == "shortest_edge_crop" else rgb_HWC)
    interpolation = _INTERPOLATIONS[spec.interpolation]
    if spec.resize == "squash":
        image = image.resize((spec.image_size, spec.image_size), interpolation)
    elif spec.resize in _OFFSETS:
        image = image.resize(_scaled(image.size, spec.resize_size), interpolation)
        image = _crop_middle(image, spec.image_size, _OFFSETS[spec.resize])
    else:
        allowed = ", ".join(("squash", *_OFFSETS))
        raise ValueError(f"resize {spec.resize!r} of encoder {spec.name} is not known; give one of: {allowed}")
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _without_far_ends(rgb_HWC: np.ndarray) -> np.ndarray:
    """Cuts the ends off a sliver: they are cropped anyway, but scaled up first they would fill the memory."""
    height, width = rgb_HWC.shape[:2]
    longest = _MOST_ELONGATED * min(height, width)
    top, left = max(0, (height - longest) // 2), max(0, (width - longest) // 2)
    return np.ascontiguousarray(rgb_HWC[top : top + longest, left : left + longest])


def _scaled(size: tuple[int, int], shortest: int) -> tuple[int, int]:
    """The size whose shortest side is `shortest`; the long side is floored, as torchvision and transformers do."""
    width, height = size
    if width <= height:
        return shortest, int(shortest * height / width)
    return int(shortest * width / height), shortest


def _crop_middle(image: Image.Image, side: int, offset: Callable[[int], int]) -> Image.Image:
    """The middle square; where the picture is smaller than that, black fills up, as in the reference code."""
    left, top = offset(image.width - side), offset(image.height - side)
    return image.crop((left, top, left + side, top + side))

"""RGB pixels of any size → the encoder's uint8 input. Needs the spec alone, so decoding workers never load a model."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .spec import EncoderSpec

_INTERPOLATIONS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


def preprocess(rgb_HWC: np.ndarray, spec: EncoderSpec) -> np.ndarray:
    """`rgb_HWC` uint8 → `pixels_CHW` uint8 of `spec.image_size`, resized by Pillow as the reference code does."""
    image = Image.fromarray(rgb_HWC)
    interpolation = _INTERPOLATIONS[spec.interpolation]
    if spec.resize == "squash":
        image = image.resize((spec.image_size, spec.image_size), interpolation)
    elif spec.resize == "shortest_edge_crop":
        image = _crop_middle(image.resize(_scaled(image.size, spec.resize_size), interpolation), spec.image_size)
    else:
        raise ValueError(f"resize {spec.resize!r} of encoder {spec.name} is not known: squash or shortest_edge_crop")
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _scaled(size: tuple[int, int], shortest: int) -> tuple[int, int]:
    """The size whose shortest side is `shortest`; the long side is floored, as torchvision and transformers do."""
    width, height = size
    if width <= height:
        return shortest, int(shortest * height / width)
    return int(shortest * width / height), shortest


def _crop_middle(image: Image.Image, side: int) -> Image.Image:
    """The middle square; where the picture is smaller than that, black fills up, as in the reference code."""
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))

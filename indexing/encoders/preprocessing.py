"""RGB pixels of any size → the encoder's uint8 input. It needs only the spec, so decoding workers load no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...datasets.errors import InputError
from .spec import EncoderSpec

if TYPE_CHECKING:
    from PIL import Image

# Aspect ratio beyond which the ends are cut off first: no interpolation reaches that far beyond the central square.
_MOST_ELONGATED = 8
_INTERPOLATIONS = ("bicubic", "bilinear", "lanczos", "nearest")
# Pixels that a crop leaves out → how many of them lie before it. The two differ if the number is odd: torchvision
# rounds (half to even), transformers truncates.
_OFFSETS: dict[str, Callable[[int], int]] = {
    "shortest_edge_crop": lambda left_out: left_out // 2,
    "shortest_edge_crop_rounded": lambda left_out: round(left_out / 2),
}


@dataclass(frozen=True, slots=True)
class Preprocess:
    """The preprocessing of an encoder as a callable value, which holds only the spec and so is cheap to pickle.

    An encoder gets its method from it in one line: `self.preprocess = Preprocess(spec)`.
    """

    spec: EncoderSpec

    def __call__(self, rgb_HWC: np.ndarray) -> np.ndarray:
        """See `preprocess`."""
        return preprocess(rgb_HWC, self.spec)


def preprocess(rgb_HWC: np.ndarray, spec: EncoderSpec) -> np.ndarray:
    """`rgb_HWC` uint8 → `pixels_CHW` uint8 of `spec.image_size`, resized by Pillow as in the reference code.

    Raises:
        InputError: if the spec's `resize` or `interpolation` is not known.
    """
    from PIL import Image

    _check(spec)
    image = Image.fromarray(_without_far_ends(rgb_HWC) if spec.resize == "shortest_edge_crop" else rgb_HWC)
    interpolation = Image.Resampling[spec.interpolation.upper()]
    if spec.resize == "squash":
        image = image.resize((spec.image_size, spec.image_size), interpolation)
    else:
        image = image.resize(_scaled(image.size, spec.resize_size), interpolation)
        image = _crop_middle(image, spec.image_size, _OFFSETS[spec.resize])
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _check(spec: EncoderSpec) -> None:
    for field, value, allowed in (
        ("resize", spec.resize, ("squash", *_OFFSETS)),
        ("interpolation", spec.interpolation, _INTERPOLATIONS),
    ):
        if value not in allowed:
            raise InputError(
                f"{field} {value!r} of encoder {spec.name} is not known; give one of: {', '.join(allowed)}"
            )


def _without_far_ends(rgb_HWC: np.ndarray) -> np.ndarray:
    """Cuts the ends off a very elongated image. The crop would remove them anyway, but only after they were scaled up.

    A strip of 1 × 20,000 pixels would otherwise become millions of pixels in memory.
    """
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
    """The central square; an image that is smaller is padded with black, as in the reference code."""
    left, top = offset(image.width - side), offset(image.height - side)
    return image.crop((left, top, left + side, top + side))

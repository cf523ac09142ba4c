"""RGB pixels of any size → the encoder's uint8 input. It needs only the spec, so decoding workers load no model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from ...datasets.errors import InputError
from .resizers import Target, has_filter, with_pillow, with_torch
from .spec import EncoderSpec, Interpolation, Resizer

if TYPE_CHECKING:
    import torch

# Aspect ratio beyond which the ends are cut off first: no interpolation reaches that far beyond the central square.
_MOST_ELONGATED = 8
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
    """`rgb_HWC` uint8 → `pixels_CHW` uint8 of `spec.image_size`, resized by the spec's resizer.

    With Pillow the result is contiguous; with torch it is a view of memory in the order H×W×C.

    Raises:
        InputError: if the spec's `resize`, `interpolation` or `resizer` is not known, or they do not go together.
    """
    _check(spec)
    # Pillow's galleries of open_clip have the far ends scaled too.
    if spec.resize == "shortest_edge_crop" or (spec.resize == "shortest_edge_crop_rounded" and spec.resizer == "torch"):
        rgb_HWC = _without_far_ends(rgb_HWC)
    resize = with_torch if spec.resizer == "torch" else with_pillow
    return resize(rgb_HWC, _target(rgb_HWC.shape[0], rgb_HWC.shape[1], spec), spec.interpolation)


def stacked(pixels: Sequence[np.ndarray]) -> torch.Tensor:
    """Images of one size, each `pixels_CHW`, as one batch `pixels_BCHW`; see `Stack`."""
    stack = Stack(len(pixels))
    for place, pixels_CHW in enumerate(pixels):
        stack.put(place, pixels_CHW)
    return stack.batch(range(len(pixels)))


class Stack:
    """Images of one size in one block of memory, which has the order of the image that comes first.

    Args:
        most: the number of places for images.
        allocate: returns memory of at least so many bytes; by default torch's own.
    """

    def __init__(self, most: int, allocate: Callable[[int], torch.UntypedStorage] | None = None) -> None:
        self._most = most
        self._allocate = allocate
        self._lock = Lock()
        self._batch: torch.Tensor | None = None  # `pixels_BCHW`
        self._places: list[np.ndarray] = []  # the same memory

    def put(self, place: int, pixels_CHW: np.ndarray) -> None:
        """Copies an image to its place. Threads may put images at once."""
        with self._lock:
            if self._batch is None:
                self._batch = self._block(pixels_CHW)
                self._places = list(self._batch.numpy())
        own_CHW = self._places[place]
        if own_CHW.shape != pixels_CHW.shape:
            raise ValueError(f"an image of shape {pixels_CHW.shape} is in a batch of shape {own_CHW.shape}")
        # numpy copies fastest in the order of the memory.
        own_CHW.transpose(1, 2, 0)[:] = pixels_CHW.transpose(1, 2, 0)

    def batch(self, places: Sequence[int]) -> torch.Tensor:
        """The images at some places, ascending, as `pixels_BCHW`; they are moved together, so this is the end."""
        import torch

        if self._batch is None:
            return torch.zeros(0, dtype=torch.uint8)
        for to, place in enumerate(places):
            if to != place:
                self._places[to][:] = self._places[place]
        return self._batch[: len(places)]

    def _block(self, first_CHW: np.ndarray) -> torch.Tensor:
        import torch

        # Either the channels of a pixel are neighbours, or the pixels of a channel.
        is_HWC = first_CHW.strides[0] == first_CHW.itemsize
        shape = (self._most, *(first_CHW.transpose(1, 2, 0) if is_HWC else first_CHW).shape)
        block: Any = torch.from_numpy(np.empty(0, first_CHW.dtype))
        allocate = self._allocate or torch.UntypedStorage
        block.set_(allocate(math.prod(shape) * first_CHW.itemsize), 0, shape)
        return block.permute(0, 3, 1, 2) if is_HWC else block


def _check(spec: EncoderSpec) -> None:
    for field, value, allowed in (
        ("resize", spec.resize, ("squash", *_OFFSETS)),
        ("interpolation", spec.interpolation, get_args(Interpolation)),
        ("resizer", spec.resizer, get_args(Resizer)),
    ):
        if value not in allowed:
            raise InputError(
                f"{field} {value!r} of encoder {spec.name} is not known; give one of: {', '.join(allowed)}"
            )
    if not has_filter(spec.resizer, spec.interpolation):
        raise InputError(
            f"the resizer of encoder {spec.name} is torch, which has no interpolation {spec.interpolation!r}; give "
            "resizer='pillow'"
        )


def _without_far_ends(rgb_HWC: np.ndarray) -> np.ndarray:
    """Cuts the ends off a very elongated image. The crop would remove them anyway, but only after they were scaled up.

    A strip of 1 × 20,000 pixels would otherwise become millions of pixels in memory.
    """
    height, width = rgb_HWC.shape[:2]
    longest = _MOST_ELONGATED * min(height, width)
    top, left = max(0, (height - longest) // 2), max(0, (width - longest) // 2)
    return np.ascontiguousarray(rgb_HWC[top : top + longest, left : left + longest])


def _target(height: int, width: int, spec: EncoderSpec) -> Target:
    """Where an image goes: all of it into the square, or the middle of it.

    The shortest side becomes `resize_size`; the long one is floored, as torchvision and transformers do.
    """
    side, shortest = spec.image_size, spec.resize_size
    if spec.resize == "squash":
        return Target(height=side, width=side, top=0, left=0, side=side)
    offset, least = _OFFSETS[spec.resize], min(height, width)
    height, width = int(shortest * height / least), int(shortest * width / least)
    return Target(height=height, width=width, top=offset(height - side), left=offset(width - side), side=side)

"""The precision of a model: which dtype it is loaded in, and how it runs in float32 for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .options import Dtype

if TYPE_CHECKING:
    import torch


def resolve_dtype(dtype: Dtype, device: torch.device) -> torch.dtype:
    """Returns the torch dtype; `auto` depends on the device, see `ModelOptions`."""
    import torch

    if dtype != "auto":
        return getattr(torch, dtype)
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


@contextmanager
def in_float32(modules: Iterable[torch.nn.Module]) -> Iterator[None]:
    """Widens half-precision weights to float32 for a while. The way back is exact: float32 holds every half exactly."""
    import torch

    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    halves = [(tensor, tensor.dtype) for tensor in tensors if tensor.dtype in (torch.float16, torch.bfloat16)]
    try:
        for tensor, _ in halves:
            tensor.data = tensor.data.float()
        yield
    finally:
        for tensor, dtype in halves:
            tensor.data = tensor.data.to(dtype)

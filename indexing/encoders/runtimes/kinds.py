"""What a runtime is: how it is named, what it needs, and how it opens an exported model.

Shapes: B batch, C channels (3), H height, W width, D features.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np

from ....datasets.errors import InputError
from ..packages import require_packages
from ..spec import Precision, one_of

if TYPE_CHECKING:
    import torch

Runtime = Literal["auto", "torch", "compiled", "onnxruntime", "openvino", "tensorrt"]
Computed = Literal["fp32", "bf16"]

# A runtime that opens exported models → the module here that declares it in `KINDS`; it is imported when it is named.
_MODULES = {"onnxruntime": "onnx_runtime", "openvino": "open_vino", "tensorrt": "onnx_runtime"}
OTHERS = tuple(_MODULES)


class Session(Protocol):
    """An exported model, opened by a runtime. Threads may share it."""

    def __call__(self, pixels_BCHW: np.ndarray) -> np.ndarray:
        """Normalised pixels, float32, C-contiguous → features `emb_BD`, float32."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeKind:
    """A runtime that opens exported models.

    Attributes:
        name: as in `--runtime`.
        package: the module that runs models.
        requirement: what `pip install` must be given to install it.
        precisions: in which it can compute.
        check: raises an `InputError` if it cannot use a device of this machine in a precision.
        open: opens an exported model on a device, in a precision; raises an `InputError` if it would run elsewhere.
    """

    name: str
    package: str
    requirement: str
    precisions: tuple[Computed, ...]
    check: Callable[[torch.device, Computed], None]
    open: Callable[[Path, torch.device, Computed], Session]


def as_runtime(name: str) -> Runtime:
    """Returns a runtime that a user gave as text.

    Raises:
        InputError: if it is not known.
    """
    return one_of(get_args(Runtime), name, "runtime")


def kind_of(runtime: str) -> RuntimeKind:
    """A runtime that opens exported models.

    Raises:
        InputError: with the pip command, if its package is not installed.
    """
    kind = importlib.import_module(f".{_MODULES[runtime]}", __package__).KINDS[runtime]
    require_packages(f"the runtime {runtime}", kind.requirement, kind.package)
    return kind


def usable(runtime: str, device: torch.device, precision: Computed) -> RuntimeKind:
    """A runtime that computes in a precision on a device.

    Raises:
        InputError: if it cannot.
    """
    kind = kind_of(runtime)
    if precision not in kind.precisions:
        raise InputError(
            f"the runtime {runtime} computes in {' or '.join(kind.precisions)} and the precision is {precision}; give "
            f"--precision {kind.precisions[0]} or another runtime"
        )
    kind.check(device, precision)
    return kind


def check_runtime(runtime: str, device: str, precision: Precision) -> None:
    """Checks that a runtime can be used, as far as that can be said without a model.

    Args:
        runtime: its name; not `auto`.
        device: as torch names it, or `auto`.
        precision: what was asked for.

    Raises:
        InputError: if it cannot.
    """
    if runtime not in OTHERS:  # torch itself
        return
    from ..torch_encoder import resolve_device

    usable(runtime, resolve_device(device), "fp32" if precision == "auto" else precision)

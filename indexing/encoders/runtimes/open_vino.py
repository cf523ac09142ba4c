"""OpenVINO on the CPU. It reads the exported model as ONNX Runtime does."""

from __future__ import annotations

import importlib
import sys
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....datasets.errors import InputError, first_line
from .kinds import Computed, RuntimeKind, Session

if TYPE_CHECKING:
    import torch

_HINTS = {"fp32": "f32", "bf16": "bf16"}


def import_openvino() -> Any:
    """The package openvino without its telemetry, which reports every import to its makers unless it is missing."""
    name = "openvino_telemetry"
    if name in sys.modules or "openvino" in sys.modules:
        return importlib.import_module("openvino")
    sys.modules[name] = None  # type: ignore[assignment] # this is how Python marks a module that cannot be imported
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules[name]


@cache
def _core() -> Any:
    """The one core of this process, which is never removed.

    The CPU plugin of a core gives the calling thread another stack for signals (AMX needs a larger one). When another
    thread removes the core, that stack is unmapped while the first thread still has it: the next signal that Python
    handles there, such as SIGCHLD with a DataLoader, ends the process with SIGSEGV. Seen with 2025.3 and 2026.4.
    """
    return import_openvino().Core()


def _check(device: torch.device, precision: Computed) -> None:
    openvino = import_openvino()
    if device.type != "cpu":
        raise InputError(f"the runtime openvino runs on the CPU and the device is {device}; give --device cpu")
    capabilities = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision.upper() not in capabilities:
        raise InputError(
            f"this CPU does not compute in {precision} with openvino {openvino.__version__}, which would take fp32; "
            "give --precision fp32"
        )


def _open(path: Path, device: torch.device, precision: Computed) -> Session:
    import torch

    openvino = import_openvino()
    del device  # the CPU
    core = _core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",  # one batch at a time, by all threads
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "ENABLE_CPU_PINNING": False,  # the cores are shared with the threads that decode
    }
    try:
        request = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()
    except RuntimeError as error:
        raise InputError(
            f"{path} cannot be opened by openvino {openvino.__version__} ({first_line(error)}); give another --runtime"
        ) from error
    one_at_a_time = threading.Lock()  # a request holds the tensors of one batch

    def run(pixels_BCHW: np.ndarray) -> np.ndarray:
        with one_at_a_time:
            return request.infer({0: pixels_BCHW})[0]

    return run


KINDS = {
    "openvino": RuntimeKind(
        name="openvino",
        package="openvino",
        requirement="diantu[openvino]",
        precisions=("fp32", "bf16"),
        check=_check,
        open=_open,
    )
}

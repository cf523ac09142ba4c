"""ONNX Runtime, by its execution providers: CPU and CUDA (`onnxruntime`), TensorRT (`tensorrt`)."""

from __future__ import annotations

import importlib
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....datasets.errors import InputError, first_line
from .kinds import Computed, RuntimeKind, Session

if TYPE_CHECKING:
    import torch

_CPU, _CUDA, _TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


def import_onnxruntime() -> Any:
    """The package onnxruntime without its telemetry, which newer releases send by default, on Linux too.

    It reads the variable when it is loaded, see its Privacy.md; else it keeps a number for this machine in the cache.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    onnxruntime = importlib.import_module("onnxruntime")
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _check(runtime: str, device: torch.device, precision: Computed) -> None:
    onnxruntime = import_onnxruntime()
    del precision  # fp32 is everywhere
    provider = _provider(runtime, device)
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise InputError(
            f"the runtime {runtime} on the device {device} needs the provider {provider}, and onnxruntime "
            f"{onnxruntime.__version__} here has {', '.join(available)}; install onnxruntime-gpu, or give another "
            "--runtime or --device"
        )
    if provider != _CPU and device.type != "cuda":
        raise InputError(f"the runtime {runtime} needs an NVIDIA GPU and the device is {device}; give --device cuda")


def _open(runtime: str, path: Path, device: torch.device, precision: Computed) -> Session:
    """Opens a model. ONNX Runtime goes on with the CPU where a provider cannot start, so that is checked."""
    import torch

    onnxruntime = import_onnxruntime()
    del precision
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors, which are raised here, too
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait in a loop for work take the cores from those that decode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    provider = _provider(runtime, device)
    try:
        session = onnxruntime.InferenceSession(path, options, providers=_providers(provider, device))
    except Exception as error:  # its errors share no class
        raise InputError(
            f"{path} cannot be opened by onnxruntime {onnxruntime.__version__} ({first_line(error)}); give another "
            "--runtime"
        ) from error
    if (first := session.get_providers()[0]) != provider:
        raise InputError(
            f"the runtime {runtime} cannot use the provider {provider} here and would run on {first}; check its "
            "libraries (CUDA, cuDNN, TensorRT), or give another --runtime or --device"
        )
    name = session.get_inputs()[0].name

    def run(pixels_BCHW: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(None, {name: pixels_BCHW})[0])

    return run


def _provider(runtime: str, device: torch.device) -> str:
    if runtime == "tensorrt":
        return _TENSORRT
    return _CUDA if device.type == "cuda" else _CPU


def _providers(provider: str, device: torch.device) -> list[Any]:
    """The provider, then the one for what it has no code for, as ONNX Runtime's manual orders them."""
    if provider == _CPU:
        return [_CPU]
    on_gpu = {"device_id": device.index or 0}
    return [(provider, on_gpu)] if provider == _CUDA else [(provider, on_gpu), (_CUDA, on_gpu)]


KINDS = {
    runtime: RuntimeKind(
        name=runtime,
        package="onnxruntime",
        requirement="diantu[onnx]",
        precisions=("fp32",),
        check=partial(_check, runtime),
        open=partial(_open, runtime),
    )
    for runtime in ("onnxruntime", "tensorrt")
}

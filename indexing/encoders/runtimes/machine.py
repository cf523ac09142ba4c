"""The machine at hand, as far as results and speeds depend on it; and the user's folder for what it has measured."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

# Distributions that compute; two of them install the module onnxruntime.
_DISTRIBUTIONS = ("torch", "onnxruntime", "onnxruntime-gpu", "openvino")


def user_cache() -> Path:
    """The user's folder for files that can be made again: `$XDG_CACHE_HOME/diantu`, else `~/.cache/diantu`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "diantu"


def machine(device: torch.device) -> dict[str, str]:
    """What the results of a device depend on: the processor, and the versions of what computes."""
    facts = {"cpu": _cpu(), "device": device.type}
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts | versions()


def versions() -> dict[str, str]:
    """The versions of the installed packages that compute."""
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

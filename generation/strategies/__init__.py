"""Strategies by name: ways to make a picture from a prompt and references, alone or one after the other."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...datasets.errors import InputError
from .chain import Chain
from .diffusion.options import ModelOptions
from .diffusion.pipeline_classes import check_model
from .settings import build_settings
from .spec import Draft, Made, Strategy

__all__ = [
    "STRATEGIES",
    "Chain",
    "Draft",
    "Made",
    "ModelOptions",
    "Strategy",
    "check_model",
    "check_settings",
    "load_strategies",
    "settings_type",
]


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a strategy is: `strategy(settings)`, or `strategy(settings, model)` if it runs a model of diffusers."""

    module: str
    strategy: str
    settings: str
    runs_model: bool = True


# Modules are imported when asked for: some need torch and more.
STRATEGIES = {
    "text2img": _Entry("diffusion.text2img", "TextToImage", "TextToImageSettings"),
    "img2img": _Entry("diffusion.img2img", "ImageToImage", "ImageToImageSettings"),
    "ip_adapter": _Entry("diffusion.ip_adapter", "IPAdapter", "IPAdapterSettings"),
    "inpaint": _Entry("diffusion.inpaint", "Inpaint", "InpaintSettings"),
    "edit": _Entry("diffusion.edit", "Edit", "EditSettings"),
    "stylize": _Entry("stylize", "Stylize", "StylizeSettings", runs_model=False),
    "overlay": _Entry("poster.overlay", "Overlay", "OverlaySettings", runs_model=False),
}


def load_strategies(names: Sequence[str], settings: Mapping[str, Mapping[str, Any]], model: ModelOptions) -> Strategy:
    """The strategy of a name; several become a `Chain` in which each works on the picture of the one before.

    Weights are loaded when they are needed first, or by `describe()`. Strategies of equal `model`, of this call or of
    others, share them for as long as one of them is in use.

    Args:
        names: of `STRATEGIES`.
        settings: strategy → field → value; those of other strategies are checked and not used.
        model: what the strategies that run a model of diffusers load.

    Raises:
        InputError: if a name or a setting does not exist, a value is out of range, or the strategies do not fit each
            other.
    """
    if isinstance(names, str) or not names:
        raise InputError(f"the strategies are {names!r}; give a list of: {', '.join(STRATEGIES)}")
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:  # settings and facts are kept by name
        raise InputError(f"strategy {twice!r} is given twice; give each once")
    check_settings(settings)
    loaded = [_load(name, settings.get(name, {}), model) for name in names]
    return loaded[0] if len(loaded) == 1 else Chain(loaded)


def check_settings(settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Checks settings of strategies, of a run or of one request, without loading anything.

    Raises:
        InputError: if a strategy or a field does not exist, or a value is out of range.
    """
    for name, values in settings.items():
        build_settings(settings_type(name), name, values)


def settings_type(name: str) -> type:
    """The dataclass of a strategy's settings, whose fields and defaults are what users may set.

    Raises:
        InputError: if there is no such strategy.
    """
    entry = _entry(name)
    return getattr(importlib.import_module(f".{entry.module}", __package__), entry.settings)


def _load(name: str, values: Mapping[str, Any], model: ModelOptions) -> Strategy:
    entry = _entry(name)
    strategy = getattr(importlib.import_module(f".{entry.module}", __package__), entry.strategy)
    settings = build_settings(settings_type(name), name, values)
    return strategy(settings, model) if entry.runs_model else strategy(settings)


def _entry(name: str) -> _Entry:
    if name not in STRATEGIES:
        raise InputError(f"strategy {name!r} is not known; give one of: {', '.join(STRATEGIES)}")
    return STRATEGIES[name]

"""Strategies by name: ways to make an image from a prompt and references, alone or one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...datasets.errors import InputError
from .base import BaseStrategy
from .chain import Chain
from .diffusion import pipeline_classes
from .diffusion.options import ModelOptions
from .registry import STRATEGIES, settings_type, strategy_class, strategy_names
from .settings import as_tuple, build_settings, check_choice, check_number, check_text
from .spec import Draft, DraftError, Made, Strategy

__all__ = [
    "STRATEGIES",
    "BaseStrategy",
    "Chain",
    "Draft",
    "DraftError",
    "Made",
    "ModelOptions",
    "Strategy",
    "as_tuple",
    "check_choice",
    "check_model",
    "check_number",
    "check_settings",
    "check_text",
    "load_strategies",
    "settings_type",
    "strategy_class",
    "strategy_names",
]


def load_strategies(
    names: Sequence[str],
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    model: ModelOptions | None = None,
) -> Strategy:
    """Returns the strategy of a name. Several names become a `Chain`: each works on the image of the one before.

    Weights are loaded when they are first needed, or by `describe()`. Strategies with equal `model`, from this call or
    another one, share the weights as long as one of them is in use.

    Args:
        names: built-in strategies (`STRATEGIES`) or strategies of installed packages.
        settings: strategy → field → value; settings of strategies that are not in `names` are checked and not used.
        model: what the strategies that run a diffusers model load.

    Raises:
        InputError: if a name or a setting does not exist, a value is out of range, or the strategies do not fit
            together.
    """
    if isinstance(names, str) or not names:
        raise InputError(f"the strategies are {names!r}; give a list of: {', '.join(strategy_names())}")
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:  # settings and facts are kept by name
        raise InputError(f"strategy {twice!r} is given twice; give each strategy once")
    settings = settings or {}
    check_settings(settings)
    loaded = [_load(name, settings.get(name, {}), model or ModelOptions()) for name in names]
    return loaded[0] if len(loaded) == 1 else Chain(loaded)


def check_settings(settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Checks settings of strategies, of a run or of one request, without loading a model.

    Raises:
        InputError: if a strategy or a field does not exist, or a value is out of range.
    """
    for name, values in settings.items():
        build_settings(settings_type(name), name, values)


def check_model(options: ModelOptions, strategy: str) -> str:
    """Checks without weights whether a model can run a strategy with the installed diffusers.

    Reads the index of the model (a few hundred bytes), unless `options.pipeline` names its class.

    Returns:
        The name of the diffusers class that would run.

    Raises:
        InputError: if the class does not exist, does not support the strategy, or lacks an argument that it needs.
    """
    task = getattr(strategy_class(strategy), "task", None)
    if task is None:
        able = [name for name in STRATEGIES if hasattr(strategy_class(name), "task")]
        raise InputError(f"{strategy!r} runs no diffusers model; those that do: {', '.join(able)}")
    return pipeline_classes.check_model(options, task)


def _load(name: str, values: Mapping[str, Any], model: ModelOptions) -> Strategy:
    found = strategy_class(name)
    settings = build_settings(found.settings_type, name, values)
    return found(settings, model) if getattr(found, "takes_model", False) else found(settings)

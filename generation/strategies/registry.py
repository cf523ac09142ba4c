"""Finds the class of a strategy by name: built in, or declared by an installed package.

A package declares a strategy with an entry point in the group `diantu.strategies`:

    [project.entry-points."diantu.strategies"]
    posterize = "my_package.posterize:Posterize"

Modules are imported when a strategy is asked for, because some of them need torch.
"""

from __future__ import annotations

import importlib
from dataclasses import is_dataclass
from functools import cache
from importlib.metadata import EntryPoint
from typing import Any

from ...datasets import plugins
from ...datasets.errors import InputError

GROUP = "diantu.strategies"
_WHAT = "strategy"

# Strategy → module and class. All else about a strategy is declared by its class.
STRATEGIES = {
    "text2img": ".diffusion.text2img:TextToImage",
    "img2img": ".diffusion.img2img:ImageToImage",
    "ip_adapter": ".diffusion.ip_adapter:IPAdapter",
    "inpaint": ".diffusion.inpaint:Inpaint",
    "edit": ".diffusion.edit:Edit",
    "stylize": ".stylize:Stylize",
    "overlay": ".poster.overlay:Overlay",
}
_METHODS = ("describe", "check", "bucket", "make")


@cache
def strategy_class(name: str) -> Any:
    """Returns the class of a strategy; imports its module.

    Raises:
        InputError: if there is no such strategy, several packages declare it, or its class cannot be used.
    """
    if name in STRATEGIES:
        if declared := plugins.declared(GROUP).get(name):
            raise InputError(
                f"strategy {name!r} is built in, and {plugins.packages(declared)} declares it too; rename that entry "
                f"point in the group {GROUP}, or uninstall the package"
            )
        module, _, attribute = STRATEGIES[name].partition(":")
        return getattr(importlib.import_module(module, __package__), attribute)
    point = plugins.named(GROUP, name, _WHAT)
    if point is None:
        raise InputError(f"strategy {name!r} is not known; give one of: {', '.join(strategy_names())}")
    return _imported(point)


def strategy_names() -> list[str]:
    """Returns the names of all strategies: first the built-in ones, then those of installed packages."""
    return [*STRATEGIES, *(name for name in plugins.declared(GROUP) if name not in STRATEGIES)]


def settings_type(name: str) -> type:
    """Returns the dataclass of the settings of a strategy, with its fields and defaults.

    Raises:
        InputError: if there is no such strategy.
    """
    return strategy_class(name).settings_type


def _imported(point: EntryPoint) -> Any:
    """Imports the class of an entry point and checks it.

    Raises:
        InputError: if it cannot be imported, or is not the class of a strategy of that name.
    """
    found = plugins.load(point, _WHAT)
    problem = _problem(found, point.name)
    if problem:
        raise InputError(f"{plugins.told(point, _WHAT)} {problem}; see BaseStrategy in diantu.generation")
    return found


def _problem(found: Any, name: str) -> str:
    """Returns what keeps an object from being the class of a strategy, as the end of a sentence; empty if nothing."""
    if not isinstance(found, type):
        return f"is a {type(found).__name__}, not a class"
    if "." in name or "+" in name:  # they have a meaning in `strategy.field` and in the names of chains
        return "has a . or + in its name, which is not allowed"
    if getattr(found, "name", None) != name:
        return f"has the name {getattr(found, 'name', None)!r}, not {name!r}: set its attribute name"
    settings = getattr(found, "settings_type", None)
    if not (isinstance(settings, type) and is_dataclass(settings)):
        return f"has the settings_type {settings!r}, which is not a dataclass"
    lacking = [method for method in _METHODS if not callable(getattr(found, method, None))]
    if lacking:
        return f"has no method {lacking[0]!r}"
    return ""

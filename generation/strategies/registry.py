"""Finds the class of a strategy by name: built in, or declared by an installed package.

A package declares a strategy with an entry point in the group `diantu.strategies`:

    [project.entry-points."diantu.strategies"]
    posterize = "my_package.posterize:Posterize"

Modules are imported when a strategy is asked for, because some of them need torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ...datasets.errors import InputError

GROUP = "diantu.strategies"

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
    declared = _declared().get(name, [])
    if name in STRATEGIES:
        if declared:
            raise InputError(
                f"strategy {name!r} is built in, and {_owners(declared)} declares it too; rename that entry point in "
                f"the group {GROUP}, or uninstall the package"
            )
        module, _, attribute = STRATEGIES[name].partition(":")
        return getattr(importlib.import_module(module, __package__), attribute)
    if not declared:
        raise InputError(f"strategy {name!r} is not known; give one of: {', '.join(strategy_names())}")
    if len(declared) > 1:
        raise InputError(f"strategy {name!r} is declared by {_owners(declared)}; uninstall all of them but one")
    return _imported(declared[0])


def strategy_names() -> list[str]:
    """Returns the names of all strategies: first the built-in ones, then those of installed packages."""
    return [*STRATEGIES, *sorted(_declared().keys() - STRATEGIES.keys())]


def settings_type(name: str) -> type:
    """Returns the dataclass of the settings of a strategy, with its fields and defaults.

    Raises:
        InputError: if there is no such strategy.
    """
    return strategy_class(name).settings_type


@cache
def _declared() -> dict[str, list[EntryPoint]]:
    """Returns the entry points of installed packages by name; reads their metadata, imports nothing."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        same = found.setdefault(point.name, [])
        if point not in same:  # a package may be on the path twice
            same.append(point)
    return found


def _imported(point: EntryPoint) -> Any:
    """Imports the class of an entry point and checks it.

    Raises:
        InputError: if it cannot be imported, or is not the class of a strategy of that name.
    """
    told = f"strategy {point.name!r} of {_owners([point])} ({point.value})"
    try:
        found = point.load()
    except Exception as error:  # whatever a stranger's module raises while it is imported
        raise InputError(
            f"{told} cannot be imported ({type(error).__name__}: {error}); repair or uninstall that package"
        ) from error
    problem = _problem(found, point.name)
    if problem:
        raise InputError(f"{told} {problem}; see BaseStrategy in diantu.generation")
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


def _owners(points: Sequence[EntryPoint]) -> str:
    return " and ".join(f"package {point.dist.name if point.dist else '(unknown)'}" for point in points)

"""Settings of strategies: built from what users write, changed for single images, always checked.

Each strategy has a frozen dataclass of settings whose `__post_init__` checks the values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from ...datasets.errors import InputError

T = TypeVar("T")


def build_settings(settings_type: type[T], strategy: str, values: Mapping[str, Any]) -> T:
    """Returns settings with the given values; the other fields keep their defaults.

    Raises:
        InputError: if a field does not exist or a value is out of range.
    """
    _check_fields(settings_type, strategy, values)
    return settings_type(**values)


def changed_settings(settings: T, strategy: str, changes: Mapping[str, Any]) -> T:
    """Returns the settings with some fields changed, as the request of one image may ask for; checks them again.

    Raises:
        InputError: if a field does not exist or a value is out of range.
    """
    if not changes:
        return settings
    _check_fields(type(settings), strategy, changes)
    return replace(settings, **changes)  # type: ignore[type-var]


def _check_fields(settings_type: type, strategy: str, values: Mapping[str, Any]) -> None:
    if not isinstance(values, Mapping):
        raise InputError(f"the settings of {strategy!r} are {values!r}; give fields with their values")
    allowed = [field.name for field in fields(settings_type)]
    unknown = [name for name in values if name not in allowed]
    if unknown:
        raise InputError(f"{strategy!r} has no setting {unknown[0]!r}; it has: {', '.join(allowed)}")


def check_number(
    name: str, value: Any, low: float, high: float, *, whole: bool = False, optional: bool = False
) -> None:
    """Checks the type and the range of a number; both ends are allowed.

    Raises:
        InputError: if the value is something else. None is allowed if `optional`.
    """
    if value is None and optional:
        return
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise InputError(f"{name} is {value!r}; give {kind} from {low:g} to {high:g}")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Checks that a value is one of a few words.

    Raises:
        InputError: if it is not.
    """
    if value not in choices:
        raise InputError(f"{name} is {value!r}; give one of: {', '.join(choices)}")


def check_text(name: str, value: Any, *, optional: bool = False) -> None:
    """Checks that a value is a text that is not empty.

    Raises:
        InputError: if the value is something else. None is allowed if `optional`.
    """
    if value is None and optional:
        return
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name} is {value!r}; give a text that is not empty")


def as_tuple(name: str, value: Any, kind: type | tuple[type, ...]) -> tuple[Any, ...]:
    """Returns a tuple of one value or of a list of values, as YAML and the command line give them.

    Raises:
        InputError: if an item is of another type.
    """
    items = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not all(isinstance(item, kind) and not isinstance(item, bool) for item in items):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise InputError(f"{name} is {value!r}; give a list of {' or '.join(each.__name__ for each in kinds)}")
    return items

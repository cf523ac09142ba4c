"""Arguments of Python functions: one of a wrong type gets a sentence here, and no error from deep inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any

from .errors import InputError

_SHOWN = 80  # characters of a value in a message


def whole_number(name: str, value: object) -> int:
    """An integer of Python or numpy. A truth value is none.

    Raises:
        InputError: if it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{name} is {shown(value)}; give a whole number")
    return int(value)


def number(name: str, value: object) -> float:
    """An integer or a float of Python or numpy, which may be infinite but not NaN. A truth value is no number.

    Raises:
        InputError: if it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or value != value:
        raise InputError(f"{name} is {shown(value)}; give a number")
    return float(value)


def text(name: str, value: object) -> str:
    """A text.

    Raises:
        InputError: if it is anything else.
    """
    if not isinstance(value, str):
        raise InputError(f"{name} is {shown(value)}; give a text")
    return value


def items(name: str, value: object) -> Iterable[Any]:
    """A list, an array or another collection, which is not looked into.

    Raises:
        InputError: if it is one thing: a text, bytes, a path, a number, a mapping.
    """
    is_one = isinstance(value, (str, bytes, bytearray, memoryview, PurePath, Mapping))
    if is_one or not isinstance(value, Iterable) or getattr(value, "shape", None) == ():
        raise InputError(f"{name} takes a list; give {name}=[…]")
    return value


def texts(name: str, value: object) -> list[str]:
    """A list of texts.

    Raises:
        InputError: if it is anything else.
    """
    return [text(f"one of {name}", item) for item in items(name, value)]


def shown(value: object) -> str:
    """A value for a message: its beginning as Python writes it."""
    written = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    written = " ".join(written.split())
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}…"

"""Readers that other packages declare as entry points of the group `diantu.readers`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import EntryPoint

from .. import plugins
from ..decoding import IMAGE_EXTENSIONS
from ..errors import InputError
from .reader import Reader

log = logging.getLogger(__name__)

GROUP = "diantu.readers"
# The format of parts whose vectors were imported. It has no reader, because the container of their images is unknown.
IMPORTED = "imported"
_WHAT = "the shard reader"


def named(name: str, built_in: Sequence[Reader]) -> Reader | None:
    """The reader of a format that another package declares; None if none does. No other reader is loaded.

    Raises:
        InputError: if it cannot be imported, is no `Reader`, or claims what belongs to a built-in reader.
    """
    point = plugins.named(GROUP, name, _WHAT)
    return _load(point, built_in) if point else None


@lru_cache(maxsize=1)
def installed(built_in: tuple[Reader, ...]) -> tuple[tuple[Reader, ...], Mapping[str, InputError]]:
    """All readers of other packages that can be used, and by name, why others cannot.

    One that cannot be used takes nothing from the others: whether it is needed, is known only where a file has an
    ending that no other reader has. They are loaded once per process.

    Args:
        built_in: the readers of this package, which no other package may replace.
    """
    found: list[Reader] = []
    problems: dict[str, InputError] = {}
    for name in plugins.declared(GROUP):
        try:
            reader = named(name, built_in)
        except InputError as error:
            problems[name] = error
            log.warning("%s", error)
        else:
            found += [reader] if reader else []
    return tuple(found), problems


def _load(point: EntryPoint, built_in: Sequence[Reader]) -> Reader:
    reader = plugins.load(point, _WHAT)
    if problem := _problem(point.name, reader, built_in):
        told = plugins.told(point, _WHAT)
        raise InputError(f"{told} cannot be used: {problem}; correct or uninstall that package")
    return reader


def _problem(name: str, reader: object, built_in: Sequence[Reader]) -> str | None:
    """Why a reader cannot be used beside the built-in ones, or None."""
    if not isinstance(reader, Reader):
        return f"it is a {type(reader).__name__}, and must be a diantu.datasets.Reader"
    if reader.format != name:
        return f"its format {reader.format!r} must be the same as the entry point's name"
    if reader.format == IMPORTED or any(reader.format == other.format for other in built_in):
        return f"another reader has the format {reader.format!r} already"
    taken = {ending: other.format for other in built_in for ending in other.endings}
    taken |= {f".{extension}": "images" for extension in IMAGE_EXTENSIONS}
    for ending in reader.endings:
        if not ending.startswith(".") or len(ending) == 1 or ending != ending.lower():
            return f"its ending {ending!r} must be a dot and lower-case letters"
        if ending in taken:
            return f"its ending {ending} belongs to {taken[ending]} already"
    return None

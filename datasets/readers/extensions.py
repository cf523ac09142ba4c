"""Readers that other packages declare as entry points of the group `diantu.readers`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from ..decoding import IMAGE_EXTENSIONS
from ..errors import InputError, first_line
from .reader import Reader

GROUP = "diantu.readers"
# The format of parts whose vectors were imported. It has no reader, because the container of their images is unknown.
IMPORTED = "imported"


@lru_cache(maxsize=1)
def installed(built_in: tuple[Reader, ...]) -> tuple[Reader, ...]:
    """The readers of other packages, in the order of their names. They are looked up once per process.

    Args:
        built_in: the readers of this package, which no other package may replace.

    Raises:
        InputError: if one of them cannot be imported, is no `Reader`, or claims what belongs to another reader.
    """
    found: list[Reader] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        reader = _load(point)
        if problem := _problem(point.name, reader, (*built_in, *found)):
            raise _unusable(point, problem)
        found.append(reader)
    return tuple(found)


def _load(point: EntryPoint) -> Reader:
    try:
        reader = point.load()
    except Exception as error:  # importing code of others can fail in any way
        raise _unusable(point, f"its import fails with {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(reader, Reader):
        raise _unusable(point, f"it is a {type(reader).__name__}, and must be a diantu.datasets.Reader")
    return reader


def _problem(name: str, reader: Reader, others: Sequence[Reader]) -> str | None:
    """Why a reader cannot be used beside the others, or None."""
    if reader.format != name:
        return f"its format {reader.format!r} must be the same as the entry point's name"
    if reader.format == IMPORTED or any(reader.format == other.format for other in others):
        return f"another reader has the format {reader.format!r} already"
    taken = {ending: other.format for other in others for ending in other.endings}
    taken |= {f".{extension}": "images" for extension in IMAGE_EXTENSIONS}
    for ending in reader.endings:
        if not ending.startswith(".") or len(ending) == 1 or ending != ending.lower():
            return f"its ending {ending!r} must be a dot and lower-case letters"
        if ending in taken:
            return f"its ending {ending} belongs to {taken[ending]} already"
    return None


def _unusable(point: EntryPoint, problem: str) -> InputError:
    package = f" of the package {point.dist.name}" if point.dist else ""
    return InputError(
        f"the shard reader {point.name!r} ({point.value}){package} cannot be used: {problem}; "
        "correct or uninstall that package"
    )

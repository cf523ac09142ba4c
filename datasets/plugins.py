"""What other packages declare as entry points: shard readers, encoder families, strategies.

Only the metadata of the installed packages are read. The code of a package runs when what it declares is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .errors import InputError, first_line


@lru_cache
def declared(group: str) -> Mapping[str, Sequence[EntryPoint]]:
    """The entry points of a group by name, in the order of the names; several if packages share a name.

    They are looked up once per process, because that reads the metadata of all installed packages.
    """
    found: dict[str, list[EntryPoint]] = {}
    for point in sorted(entry_points(group=group), key=lambda point: (point.name, package(point))):
        same = found.setdefault(point.name, [])
        if all(point.value != other.value or package(point) != package(other) for other in same):
            same.append(point)  # a package may be on the path twice
    return found


def named(group: str, name: str, what: str) -> EntryPoint | None:
    """The entry point of a name; None if no package declares it.

    Args:
        group: the group.
        name: the name that is wanted; others are not looked at.
        what: what the message calls it, say "the encoder family".

    Raises:
        InputError: if several packages declare the name.
    """
    points = declared(group).get(name, ())
    if len(points) > 1:
        raise InputError(f"{what} {name!r} is declared by {packages(points)}; uninstall all of them but one")
    return points[0] if points else None


def load(point: EntryPoint, what: str) -> Any:
    """What an entry point refers to; imports its module.

    Raises:
        InputError: if that fails.
    """
    try:
        return point.load()
    except Exception as error:  # importing another package runs its code, which may raise anything
        raise InputError(
            f"{told(point, what)} cannot be imported ({type(error).__name__}: {first_line(error)}); "
            "correct, update or uninstall that package"
        ) from error


def told(point: EntryPoint, what: str) -> str:
    """An entry point in words, as the beginning of a message."""
    return f"{what} {point.name!r} ({point.value}) of the package {package(point)}"


def package(point: EntryPoint) -> str:
    """The name of the installed package that an entry point belongs to."""
    return point.dist.name if point.dist else point.value


def packages(points: Sequence[EntryPoint]) -> str:
    """The names of the packages of several entry points, for a message."""
    return " and ".join(f"the package {package(point)}" for point in points)

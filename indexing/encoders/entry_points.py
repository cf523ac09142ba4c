"""Encoder families of other packages, found through their entry points in the group `diantu.encoders`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import metadata

from ...datasets.errors import InputError
from .family import EncoderFamily

GROUP = "diantu.encoders"


@cache
def registered(built_in: frozenset[str]) -> Mapping[str, metadata.EntryPoint]:
    """The entry points by family name, not yet loaded. Read once per process, because it scans all installed packages.

    Raises:
        InputError: if a package registers a name that is built in, or two packages register the same name.
    """
    found: dict[str, metadata.EntryPoint] = {}
    for entry in metadata.entry_points(group=GROUP):
        if entry.name in built_in:
            raise InputError(
                f"the package {package(entry)} registers the encoder family {entry.name!r}, which is built into "
                f"diantu; uninstall the package, or rename its entry point in the group {GROUP}"
            )
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise InputError(
                f"the encoder family {entry.name!r} is registered by {package(other)} and by {package(entry)}; "
                "uninstall one of them"
            )
    return found


@cache
def load_family(entry: metadata.EntryPoint) -> EncoderFamily:
    """The family that an entry point refers to.

    Raises:
        InputError: if it cannot be imported, or is not an `EncoderFamily` of the entry point's name.
    """
    try:
        family = entry.load()
    except Exception as error:  # importing another package runs its code, which may raise anything
        raise InputError(
            f"the encoder family {entry.name!r} of the package {package(entry)} cannot be imported "
            f"({type(error).__name__}: {error}); reinstall or update the package, or correct its entry point"
        ) from error
    if not isinstance(family, EncoderFamily):
        raise InputError(
            f"the encoder family {entry.name!r} of the package {package(entry)} is {entry.value}, of type "
            f"{type(family).__name__}; it must be an EncoderFamily"
        )
    if family.name != entry.name:
        raise InputError(
            f"the package {package(entry)} registers the encoder family {family.name!r} under the name "
            f"{entry.name!r}; both must be the same"
        )
    return family


def package(entry: metadata.EntryPoint) -> str:
    """The name of the installed package that an entry point belongs to."""
    return entry.dist.name if entry.dist else entry.value

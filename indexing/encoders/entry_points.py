"""Encoder families of other packages, found through their entry points in the group `diantu.encoders`."""

from __future__ import annotations

from functools import cache

from ...datasets import plugins
from ...datasets.errors import InputError
from .family import EncoderFamily

GROUP = "diantu.encoders"
_WHAT = "the encoder family"


@cache
def family_of(name: str) -> EncoderFamily | None:
    """The family of a name; None if no package declares it. The families of other names are not looked at.

    Raises:
        InputError: if several packages declare it, it cannot be imported, or is not an `EncoderFamily` of that name.
    """
    point = plugins.named(GROUP, name, _WHAT)
    if point is None:
        return None
    family = plugins.load(point, _WHAT)
    told = plugins.told(point, _WHAT)
    if not isinstance(family, EncoderFamily):
        raise InputError(f"{told} is of type {type(family).__name__}; it must be an EncoderFamily")
    if family.name != name:
        raise InputError(f"{told} has the name {family.name!r}; it must be {name!r}, as the entry point says")
    return family


def usage() -> list[str]:
    """The families of other packages, for a message; none of them is imported."""
    return [f"{name} (of {plugins.packages(points)})" for name, points in plugins.declared(GROUP).items()]

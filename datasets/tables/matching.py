"""Names of files that mean the same: macOS decomposes accents (NFD), cameras and Windows write capitals."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from functools import cached_property


def folded(name: str) -> str:
    """A name without regard to case and to composed or decomposed characters."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class FoldedNames:
    """Finds names that are written in another way: first by Unicode normalisation (NFC), then without regard to case.

    A name that fits several others fits none, because a guess could be wrong.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def find(self, name: str) -> str | None:
        """The name among the names: exactly so, else composed, else in another case; None if no single one fits."""
        if name in self._names:
            return name
        composed, cased = self._others
        composed_name = unicodedata.normalize("NFC", name)
        return composed[composed_name] if composed_name in composed else cased.get(folded(name))

    @cached_property
    def _others(self) -> tuple[Mapping[str, str | None], Mapping[str, str | None]]:
        """The names by their composed and by their folded writing; None where several have the same.

        It is made when it is first needed: nearly always all names are found exactly.
        """
        composed: dict[str, str | None] = {}
        cased: dict[str, str | None] = {}
        for name in self._names:
            for names, written in ((composed, unicodedata.normalize("NFC", name)), (cased, folded(name))):
                names[written] = None if written in names else name
        return composed, cased

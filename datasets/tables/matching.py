"""Names of files that mean the same: macOS decomposes accents (NFD), cameras and Windows write capitals."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def folded(name: str) -> str:
    """A name without regard to case and to composed or decomposed characters."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class FoldedNames:
    """Finds names that are written in another way: first by Unicode normalisation (NFC), then without regard to case.

    A name that fits several others fits none, because a guess could be wrong.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._composed: dict[str, list[str]] = {}
        self._folded: dict[str, list[str]] = {}
        for name in sorted(self._names):
            self._composed.setdefault(unicodedata.normalize("NFC", name), []).append(name)
            self._folded.setdefault(folded(name), []).append(name)

    def find(self, name: str) -> str | None:
        """The name among the names: exactly so, else composed, else in another case; None if no single one fits."""
        if name in self._names:
            return name
        fitting = self._composed.get(unicodedata.normalize("NFC", name)) or self._folded.get(folded(name), [])
        return fitting[0] if len(fitting) == 1 else None

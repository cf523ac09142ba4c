"""The options of a search, checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from ..datasets import InputError
from ..datasets.conditions import WHERE_SECONDS, Missing
from ..indexing.index.effort import Effort
from ..indexing.store.filters import MISSING
from ..indexing.store.snapshot import OVER, Over

# The default window of a search that reorders hits: at least this many rows, and this many per hit.
_WINDOW, _WINDOW_PER_K = 100, 10


class SearchOptions(TypedDict, total=False):
    """The options of `Gallery.search` as keyword arguments, for functions that pass them on."""

    k: int
    offset: int
    where: str | None
    missing: Missing
    where_timeout: float
    effort: Effort
    space: str | None
    over: Over
    rerank: str | None
    diversity: float
    fold_duplicates: bool
    min_score: float | None
    min_zscore: float | None
    sort_by: str | None
    aesthetic: float
    window: int | None
    columns: Sequence[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `Gallery.search`, which describes them.

    Raises:
        InputError: if a value is not allowed, or two values contradict each other.
    """

    k: int = 12
    offset: int = 0
    where: str | None = None
    missing: Missing = "exclude"
    where_timeout: float = WHERE_SECONDS
    effort: Effort = "balanced"
    space: str | None = None
    over: Over = "images"
    rerank: str | None = None
    diversity: float = 0.0
    fold_duplicates: bool = False
    min_score: float | None = None
    min_zscore: float | None = None
    sort_by: str | None = None
    aesthetic: float = 0.0
    window: int | None = None
    columns: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError(f"k is {self.k}; give at least 1")
        if self.offset < 0:
            raise InputError(f"offset is {self.offset}; give the number of hits to skip, 0 or more")
        if not 0 <= self.diversity <= 1:
            raise InputError(f"diversity is {self.diversity}; give 0 (by score alone) to 1 (as different as possible)")
        if self.missing not in MISSING:
            raise InputError(f"missing {self.missing!r} is not known; missing values: {' or '.join(MISSING)}")
        if self.over not in OVER:
            raise InputError(f"over {self.over!r} is not known; search over {' or '.join(OVER)}")
        if self.sort_by and (self.diversity or self.aesthetic):
            raise InputError(
                "sort_by cannot be combined with diversity or aesthetic, which give other orders; leave out one of them"
            )
        if self.arranges and self.offset + self.k > self.depth:
            raise InputError(
                f"hits {self.offset} to {self.offset + self.k} are beyond the window of {self.depth} rows; "
                f"give window={self.offset + self.k} or more, the same for all pages"
            )
        if self.window is not None and not self.arranges:
            raise InputError("window needs rerank, diversity, sort_by or aesthetic, and none of them is given")

    @property
    def arranges(self) -> bool:
        """Whether the nearest rows are reordered."""
        return bool(self.rerank or self.diversity or self.sort_by or self.aesthetic)

    @property
    def depth(self) -> int:
        """How many rows with the best scores the hits are chosen from."""
        if not self.arranges:
            return self.offset + self.k
        return self.window if self.window is not None else max(_WINDOW, _WINDOW_PER_K * self.k)

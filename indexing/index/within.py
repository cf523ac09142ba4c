"""Search among the rows of a filter: exact where they are few, or where few of them lie in the lists near to a query.

An inverted list that lies near to a query may hold many rows of the filter, or none: a condition can go with the query
or against it. So lists are taken until they hold as many of the filter's rows as they would of a random filter of the
same size, for which the recall was tuned. Where the filter is narrow, or these rows are few among all that the lists
hold, they are scored exactly, nearest lists first, until further ones change nothing; else the index proposes
candidates among them.

Shapes: Q queries, K results, R candidates, D dimension, N rows, L lists, P lists that are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..store.rowset import RowSet
from .exact import best, exact_search_among

if TYPE_CHECKING:
    from .effort import Effort
    from .opened import GalleryIndex

# Of one query: `1 × K` scores and rows, and the strategy.
_Answer: TypeAlias = "tuple[np.ndarray, np.ndarray, str]"

# Rows that are all compared: that takes twice as long as a search of a million rows for a recall of 0.99.
_FEW = 16_000
# An exact score takes as long as scanning the codes of so many rows (measured: 25 in memory, more from a disk).
_ROW_COST = 25
# A filter's results lie further down, and more scattered, than those of the whole gallery: of what is to be missed at
# most, the lists may miss a fifth, but not less than an index is tuned for.
_STRICTER, _MOST = 5, 0.99
# Rows are scored in steps of this share of what a random filter needs, at most so many, until some of them changed
# nothing: more of them in a filter of less than a share of the rows, whose results may lie anywhere.
_STEP, _MOST_STEPS = 0.25, 24
_CALM, _CALM_NARROW, _NARROW = 2, 4, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found: `scores_QK` descending with −inf as filling, `rows_QK` with −1; and by which strategies."""

    scores_QK: np.ndarray
    rows_QK: np.ndarray
    strategies: tuple[str, ...]


class Within:
    """The rows of a filter that are not deleted, as an index searches them. Threads may share it."""

    def __init__(self, index: GalleryIndex, rows: RowSet) -> None:
        self._index = index
        self._rows = rows

    @property
    def num_rows(self) -> int:
        """Rows that can be found."""
        return self._rows.count

    @property
    def share(self) -> float:
        """Of the gallery's rows that are not deleted, 0 to 1."""
        return self.num_rows / max(self._index.num_rows, 1)

    def search(self, queries_QD: np.ndarray, k: int, *, effort: Effort = "balanced", kind: str = "text") -> Found:
        """The k nearest rows of each query; as many as there are where they are fewer.

        Args:
            queries_QD: float32, unit length.
            k: how many.
            effort: as for `GalleryIndex.search`.
            kind: what the queries are, `text` or `image`.
        """
        index, k = self._index, min(k, self.num_rows)
        queries_QD = np.ascontiguousarray(queries_QD, np.float32)
        recall = index.recall(effort)
        stricter = max(recall, min(1 - (1 - recall) / _STRICTER, _MOST))
        breadth = index.breadth(stricter, kind, k) if recall <= 1 else None
        if self.num_rows <= _FEW or not index.num_indexed or breadth is None:
            return self._exact(queries_QD, k)
        candidates = index.candidates()
        if (
            not candidates.num_lists
        ):  # a walk through a graph stops far from a filter that lies elsewhere than the query
            return self._exact(queries_QD, k)
        deep = index.breadth(stricter, kind, int(k / self.share))
        wanted = (deep or breadth).nprobe / candidates.num_lists * len(self._indexed)
        found = [self._nearest(query_D[None], k, breadth.candidates, wanted) for query_D in queries_QD]
        scores_QK, rows_QK = (np.concatenate([each[i] for each in found]) for i in range(2))
        return Found(scores_QK=scores_QK, rows_QK=rows_QK, strategies=tuple(strategy for _, _, strategy in found))

    def _exact(self, queries_QD: np.ndarray, k: int) -> Found:
        rows_N = self._few if self.num_rows <= _FEW else self._rows.rows()
        scores_QK, rows_QK = exact_search_among(self._index.vectors, queries_QD, k, rows_N)
        strategy = f"exact, all {self.num_rows} rows of the filter"
        return Found(scores_QK=scores_QK, rows_QK=rows_QK, strategies=(strategy,) * len(queries_QD))

    def _nearest(self, query_1D: np.ndarray, k: int, candidates: int, wanted: float) -> _Answer:
        """The answer to one query, out of lists that hold as many rows as are wanted, and what is near to them."""
        lists, num_near = self._lists(query_1D[0], wanted)
        near_P = lists[1][:num_near]
        num_codes = self._index.candidates().list_sizes[near_P].sum()
        if self.share >= _NARROW and self._held[near_P].sum() * _ROW_COST > num_codes:
            near = lists[0][:num_near], near_P
            return self._among_candidates(query_1D, k, candidates, near)
        return self._list_by_list(query_1D, k, lists[1], wanted)

    def _lists(self, query_D: np.ndarray, wanted: float) -> tuple[tuple[np.ndarray, np.ndarray], int]:
        """The nearest lists that hold some of the filter's rows, in their order, and how many of them hold enough."""
        candidates = self._index.candidates()
        count = min(max(64, int(wanted / max(len(self._indexed), 1) * candidates.num_lists)), candidates.num_lists)
        while True:
            scores_P, lists_P = candidates.nearest_lists(query_D, count)
            holds_P = self._held[lists_P] > 0
            held_P = np.cumsum(self._held[lists_P][holds_P])
            if count == candidates.num_lists or (len(held_P) and held_P[-1] >= wanted):
                num_near = min(int(np.searchsorted(held_P, wanted)) + 1, len(held_P))
                return (scores_P[holds_P], lists_P[holds_P]), num_near
            count = min(2 * count, candidates.num_lists)

    def _list_by_list(self, query_1D: np.ndarray, k: int, lists_P: np.ndarray, wanted: float) -> _Answer:
        """Exact scores of the filter's rows in the nearest lists, in steps, until these change nothing any more."""
        late_N = self._rows.rows(self._index.num_indexed)  # rows that came after the index
        scores_1K, rows_1K = exact_search_among(self._index.vectors, query_1D, k, late_N)
        ends_P = np.cumsum(self._held[lists_P])
        calm, num_calm, num_lists = 0, _CALM_NARROW if self.share < _NARROW else _CALM, 0
        for step in range(1, _MOST_STEPS + 1):
            stop = min(max(int(np.searchsorted(ends_P, step * _STEP * wanted)), num_lists) + 1, len(lists_P))
            rows_R = self._rows_in(lists_P[num_lists:stop])
            num_lists = stop
            before = scores_1K[0, -1]
            found_1K = exact_search_among(self._index.vectors, query_1D, k, rows_R)
            scores_1K, rows_1K = best(np.hstack([scores_1K, found_1K[0]]), np.hstack([rows_1K, found_1K[1]]), k)
            calm = calm + 1 if np.isfinite(before) and scores_1K[0, -1] == before else 0
            if calm == num_calm or stop == len(lists_P):
                break
        if not np.isfinite(scores_1K[0, -1]):
            return self._exact_answer(query_1D, k)
        return scores_1K, rows_1K, f"exact, the filter's rows in the {num_lists} nearest lists"

    def _among_candidates(
        self, query_1D: np.ndarray, k: int, candidates: int, lists: tuple[np.ndarray, np.ndarray]
    ) -> _Answer:
        """The index's candidates among the filter's rows, and those that came after the index, scored exactly."""
        rows_R = self._index.candidates().rows_in_lists(query_1D[0], max(candidates, k), lists, self._rows)
        rows_R = np.concatenate([np.sort(rows_R), self._rows.rows(self._index.num_indexed)])
        if len(rows_R) < k:  # the lists that were looked at hold too few
            return self._exact_answer(query_1D, k)
        strategy = f"index among the filter's rows in the {len(lists[1])} nearest lists"
        return *exact_search_among(self._index.vectors, query_1D, k, rows_R), strategy

    def _exact_answer(self, query_1D: np.ndarray, k: int) -> _Answer:
        found = self._exact(query_1D, k)
        return found.scores_QK, found.rows_QK, found.strategies[0]

    def _rows_in(self, lists_P: np.ndarray) -> np.ndarray:
        """The filter's rows in some lists, ascending."""
        ends_P = self._ends[lists_P]
        if not len(lists_P):
            return np.zeros(0, np.int64)
        ranges = zip((ends_P - self._held[lists_P]).tolist(), ends_P.tolist(), strict=True)
        return np.sort(np.concatenate([self._by_list[low:high] for low, high in ranges]))

    @cached_property
    def _few(self) -> np.ndarray:
        return self._rows.rows()

    @cached_property
    def _indexed(self) -> np.ndarray:
        """The filter's rows that the index holds, ascending."""
        return self._rows.rows(0, self._index.num_indexed)

    @cached_property
    def _held(self) -> np.ndarray:
        """How many of them each list holds: `L` int64."""
        lists_N = self._index.list_of_rows
        return np.bincount(lists_N[self._indexed], minlength=self._index.candidates().num_lists)

    @cached_property
    def _by_list(self) -> np.ndarray:
        """The same rows in the order of lists."""
        return self._indexed[np.argsort(self._index.list_of_rows[self._indexed], kind="stable")]

    @cached_property
    def _ends(self) -> np.ndarray:
        """Where each list ends in `_by_list`: `L` int64."""
        return np.cumsum(self._held)

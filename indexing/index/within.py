"""Search among the rows of a filter.

A small filter is searched exhaustively. For a large one, the inverted lists near the query are searched: such a list
may hold many rows of the filter or none, because a condition can correlate with the query or against it. So lists are
taken until they hold as many of the filter's rows as they would of a random filter of the same size, for which the
recall was tuned. Where the filter is narrow, or its rows are few among all rows of these lists, its rows are scored
exactly, nearest lists first, until further lists change nothing; else the index proposes candidates among them.

Shapes: Q queries, K results, R candidates, D dimension, N rows, L lists, P lists that are searched.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from ..store.rowset import RowSet
from .effort import Effort, QueryKind, Strategy
from .exact import best, exact_search_among
from .lists import InvertedLists
from .opened import GalleryIndex

# The scores and rows of one query, `1 × K`, and how they were found.
_Answer: TypeAlias = "tuple[np.ndarray, np.ndarray, Strategy]"

# Filters of up to this many rows are searched exhaustively: that takes twice as long as a search of a million rows with
# a recall of 0.99.
_FEW = 16_000
# Rows of codes that can be scanned in the time of one exact score (measured: 25 in memory, more from a disk).
_ROW_COST = 25
# A filter's results lie further down, and more scattered, than those of the whole gallery. So the lists may miss only a
# fifth of what the effort allows to be missed, but not less than an index is tuned for.
_STRICTER, _MOST = 5, 0.99
# Rows are scored in steps of this share of what a random filter needs, in at most so many steps, until some steps
# change nothing: more steps for a filter of less than a share of the rows, whose results may lie anywhere.
_STEP, _MOST_STEPS = 0.25, 24
_CALM, _CALM_NARROW, _NARROW = 2, 4, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found: `scores_QK` descending, padded with −inf; `rows_QK`, padded with −1; the strategies."""

    scores_QK: np.ndarray
    rows_QK: np.ndarray
    strategies: tuple[Strategy, ...]


class Within:
    """The rows of a filter that are not deleted, searched through an index. Threads may share it."""

    def __init__(self, index: GalleryIndex, rows: RowSet) -> None:
        self._index = index
        self._rows = rows

    @property
    def num_rows(self) -> int:
        """Number of rows that can be found."""
        return self._rows.count

    @property
    def share(self) -> float:
        """Their share of all rows that are not deleted, 0 to 1."""
        return self.num_rows / max(self._index.num_rows, 1)

    def search(self, queries_QD: np.ndarray, k: int, *, effort: Effort = "balanced", kind: QueryKind = "text") -> Found:
        """The k nearest rows of each query; fewer if the filter has fewer.

        Args:
            queries_QD: float32, unit length.
            k: number of results.
            effort: as for `GalleryIndex.search`.
            kind: what the queries are.
        """
        index, k = self._index, min(k, self.num_rows)
        queries_QD = np.ascontiguousarray(queries_QD, np.float32)
        recall = index.efforts.recall(effort)
        stricter = max(recall, min(1 - (1 - recall) / _STRICTER, _MOST))
        breadth = index.efforts.breadth(stricter, kind, k) if recall <= 1 else None
        if self.num_rows <= _FEW or not index.num_indexed or breadth is None:
            return self._exact(queries_QD, k)
        # The search of a graph stops before it reaches a filter far from the query.
        if (lists := index.candidates().lists) is None:
            return self._exact(queries_QD, k)
        deep = index.efforts.breadth(stricter, kind, int(k / self.share))
        wanted = (deep or breadth).nprobe / len(lists) * len(self._indexed)
        found = [self._nearest(query_D[None], k, breadth.candidates, wanted) for query_D in queries_QD]
        scores, rows, strategies = zip(*found, strict=True)
        return Found(scores_QK=np.concatenate(scores), rows_QK=np.concatenate(rows), strategies=strategies)

    def _exact(self, queries_QD: np.ndarray, k: int) -> Found:
        rows_N = self._few if self.num_rows <= _FEW else self._rows.rows()
        scores_QK, rows_QK = exact_search_among(self._index.vectors, queries_QD, k, rows_N)
        strategy = Strategy(name="exact", rows=self.num_rows)
        return Found(scores_QK=scores_QK, rows_QK=rows_QK, strategies=(strategy,) * len(queries_QD))

    def _nearest(self, query_1D: np.ndarray, k: int, candidates: int, wanted: float) -> _Answer:
        """The answer to one query, from lists that hold as many of the filter's rows as wanted."""
        lists, num_near = self._lists(query_1D[0], wanted)
        near_P = lists[1][:num_near]
        num_codes = self._inverted.sizes[near_P].sum()
        if self.share >= _NARROW and self._held[near_P].sum() * _ROW_COST > num_codes:
            near = lists[0][:num_near], near_P
            return self._among_candidates(query_1D, k, candidates, near)
        return self._list_by_list(query_1D, k, lists[1], wanted)

    def _lists(self, query_D: np.ndarray, wanted: float) -> tuple[tuple[np.ndarray, np.ndarray], int]:
        """The nearest lists that hold any of the filter's rows, in order, and how many of them hold enough rows."""
        inverted = self._inverted
        count = min(max(64, int(wanted / max(len(self._indexed), 1) * len(inverted))), len(inverted))
        while True:
            scores_P, lists_P = inverted.nearest(query_D, count)
            holds_P = self._held[lists_P] > 0
            held_P = np.cumsum(self._held[lists_P][holds_P])
            if count == len(inverted) or (len(held_P) and held_P[-1] >= wanted):
                num_near = min(int(np.searchsorted(held_P, wanted)) + 1, len(held_P))
                return (scores_P[holds_P], lists_P[holds_P]), num_near
            count = min(2 * count, len(inverted))

    def _list_by_list(self, query_1D: np.ndarray, k: int, lists_P: np.ndarray, wanted: float) -> _Answer:
        """Exact scores of the filter's rows in the nearest lists, in steps, until a step changes nothing."""
        late_N = self._rows.rows(self._index.num_indexed)  # rows added after the index was built
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
        return scores_1K, rows_1K, Strategy(name="exact_lists", breadth=num_lists)

    def _among_candidates(
        self, query_1D: np.ndarray, k: int, candidates: int, lists: tuple[np.ndarray, np.ndarray]
    ) -> _Answer:
        """The index's candidates among the filter's rows, and the rows added after it was built, scored exactly."""
        rows_R = self._inverted.rows(query_1D[0], max(candidates, k), lists, self._rows)
        rows_R = np.concatenate([np.sort(rows_R), self._rows.rows(self._index.num_indexed)])
        if len(rows_R) < k:  # the searched lists hold too few
            return self._exact_answer(query_1D, k)
        strategy = Strategy(name="index_lists", breadth=len(lists[1]), candidates=max(candidates, k))
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

    @property
    def _inverted(self) -> InvertedLists:
        lists = self._index.candidates().lists
        assert lists is not None, "only asked for where the index consists of lists"
        return lists

    @cached_property
    def _few(self) -> np.ndarray:
        return self._rows.rows()

    @cached_property
    def _indexed(self) -> np.ndarray:
        """The filter's rows that the index holds, ascending."""
        return self._rows.rows(0, self._index.num_indexed)

    @cached_property
    def _held(self) -> np.ndarray:
        """Number of them in each list: `L` int64."""
        return np.bincount(self._inverted.of_rows[self._indexed], minlength=len(self._inverted))

    @cached_property
    def _by_list(self) -> np.ndarray:
        """The same rows, grouped by list."""
        return self._indexed[np.argsort(self._inverted.of_rows[self._indexed], kind="stable")]

    @cached_property
    def _ends(self) -> np.ndarray:
        """The end of each list in `_by_list`: `L` int64."""
        return np.cumsum(self._held)


class FilterCache:
    """The filters over one index; each is kept as long as its row set. Threads may share it."""

    def __init__(self, index: GalleryIndex) -> None:
        self._index = index
        self._kept: WeakKeyDictionary[RowSet, Within] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def within(self, among: RowSet) -> Within:
        """The rows of a filter, ready to be searched.

        Args:
            among: the rows that meet a condition, deleted ones included.
        """
        with self._lock:
            found = self._kept.get(among)
        if found is None:
            snapshot = self._index.snapshot
            found = Within(self._index, among & RowSet.without(snapshot.deleted, snapshot.num_rows))
            with self._lock:
                self._kept[among] = found
        return found

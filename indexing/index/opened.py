"""An opened index: FAISS or SVS for the rows that it holds, exact search for the rows added since.

Every search uses it. FAISS proposes candidates from its codes, and their scores are computed from the
stored rows; SVS compares the rows themselves. So every score is exact.

Shapes: Q queries, K results, R candidates, D dimension.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from ...datasets.errors import InputError
from ..store.snapshot import Snapshot
from ..store.vectors import Vectors
from .candidates import Candidates
from .effort import Breadth, Effort, EffortTable, QueryKind, Strategy
from .exact import best, exact_search
from .faiss_candidates import FaissCandidates
from .report import REMEDY, IndexReport, index_folder, read_report
from .stored import StoredIndex
from .vamana import Vamana, VamanaCandidates

log = logging.getLogger(__name__)

# An index consists of two files, and a reader may come between the renames that replace them.
_PAUSES = (0.02, 0.1, 0.5)


class GalleryIndex:
    """Searches all rows of one snapshot, whether or not an index has been built. Threads may share it.

    Attributes:
        snapshot: what is searched.
        vectors: its vectors.
        report: what `index.json` says; None where every row is compared.
        efforts: what each effort means for this index.
        num_indexed: rows that the index holds; the rows after them are searched exactly.
    """

    def __init__(
        self, snapshot: Snapshot, load: Callable[[Vectors], Any] | None = None, report: IndexReport | None = None
    ) -> None:
        """See `GalleryIndex.open`; `load` returns the index that the report describes, when a search needs it."""
        self.snapshot = snapshot
        self.vectors = Vectors(snapshot)
        self.report = report
        self.efforts = report.efforts if report else EffortTable(tuned={})
        self.num_indexed = report.num_rows if report and load else 0
        self._load = load
        self._candidates: Candidates | None = None
        self._loading = threading.Lock()

    @classmethod
    def open(cls, snapshot: Snapshot) -> GalleryIndex:
        """Opens a gallery's index in constant time: its codes are read by the first search.

        Raises:
            InputError: if the index is damaged or belongs to another gallery.
        """
        for pause in _PAUSES:
            report = read_report(snapshot)
            if report is None:
                return cls(snapshot)
            try:
                stored = StoredIndex.open(index_folder(snapshot), report.spec)
            except InputError:  # it may have been replaced by an index of the other kind
                if pause == _PAUSES[-1]:
                    raise
                time.sleep(pause)
                continue
            if stored.belongs_to(report):
                return cls(snapshot, partial(stored.load, report, memory_mapped=True), report)
            time.sleep(pause)  # a job is replacing the index
        log.warning("the index of %s is unfinished or damaged, so every row is compared; %s", snapshot.root, REMEDY)
        return cls(snapshot)

    @property
    def num_rows(self) -> int:
        """Rows that can be found: all but the deleted ones."""
        return self.snapshot.num_alive

    def search(
        self, queries_QD: np.ndarray, k: int, *, effort: Effort = "balanced", kind: QueryKind = "text"
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows of each query, without deleted ones.

        Args:
            queries_QD: float32, unit length.
            k: number of results.
            effort: `fast`, `balanced` or `exact`, or the recall to reach; see `EffortTable.breadth`.
            kind: what the queries are: texts and images need different breadths for the same recall.

        Returns:
            `scores_QK` float32 inner products, descending, and `rows_QK` int64. A gallery of fewer than k rows gives
            as many columns as it has rows.
        """
        return self.search_at(queries_QD, k, self.efforts.breadth(effort, kind, k))

    def search_at(self, queries_QD: np.ndarray, k: int, breadth: Breadth | None) -> tuple[np.ndarray, np.ndarray]:
        """As `search`, at a given breadth; None compares every row."""
        k = min(k, self.num_rows)
        deleted = self.snapshot.deleted
        queries_QD = np.ascontiguousarray(queries_QD, np.float32)
        if k < 1:
            return np.zeros((len(queries_QD), 0), np.float32), np.zeros((len(queries_QD), 0), np.int64)
        if not self.num_indexed or (breadth is None and not self._is_flat):
            return exact_search(self.vectors, queries_QD, k, deleted=deleted)
        scores_QK, rows_QK = self._nearest(queries_QD, k, breadth)
        if self.num_indexed == len(self.vectors):
            return scores_QK, rows_QK
        scores_QN, rows_QN = exact_search(self.vectors, queries_QD, k, start=self.num_indexed, deleted=deleted)
        return best(np.hstack([scores_QK, scores_QN]), np.hstack([rows_QK, rows_QN]), k)

    def strategy(self, effort: Effort, kind: QueryKind, k: int) -> Strategy:
        """How `search` finds the rows."""
        breadth = self.efforts.breadth(effort, kind, k)
        if not self.num_indexed or breadth is None:
            return Strategy(name="exact", rows=self.num_rows)
        return Strategy(name="index", breadth=breadth.nprobe, candidates=breadth.candidates)

    def candidates(self) -> Candidates:
        """The index, loaded by the first thread that needs it; other threads wait for that."""
        with self._loading:
            if self._candidates is None:
                assert self._load, "only asked for where an index holds rows"
                self._candidates = candidates_of(self._load(self.vectors), self.snapshot.deleted)
                self._load = None  # this closes the file
            return self._candidates

    @property
    def _is_flat(self) -> bool:
        return self.report is not None and self.report.spec.is_flat

    def _nearest(self, queries_QD: np.ndarray, k: int, breadth: Breadth | None) -> tuple[np.ndarray, np.ndarray]:
        """Candidates of the index, scored exactly; −inf and −1 as padding where it holds fewer than k rows."""
        index = self.candidates()
        wanted = min(k, index.num_alive)
        depth = max(breadth.candidates, k) if breadth else k
        scores_QK, rows_QK = self._proposed(queries_QD, k, depth, breadth.nprobe if breadth else 0)
        if (short_Q := _are_short(rows_QK, wanted)).any():  # the searched lists hold too few rows
            scores_QK[short_Q], rows_QK[short_Q] = self._proposed(queries_QD[short_Q], k, depth, index.widest)
            if (short_Q := _are_short(rows_QK, wanted)).any():  # deleted rows have cut a graph into pieces
                scores_QK[short_Q], rows_QK[short_Q] = exact_search(
                    self.vectors, queries_QD[short_Q], k, deleted=self.snapshot.deleted, end=self.num_indexed
                )
        return scores_QK, rows_QK

    def _proposed(self, queries_QD: np.ndarray, k: int, depth: int, nprobe: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best of the candidates by their exact scores; −inf and −1 as padding."""
        index = self.candidates()
        if isinstance(index, VamanaCandidates):
            return index.nearest(queries_QD, k, nprobe)
        return self._scored(queries_QD, index.rows(queries_QD, depth, nprobe), k)

    def _scored(self, queries_QD: np.ndarray, rows_QR: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best candidates of each query, by their exact scores."""
        scores_QK = np.full((len(rows_QR), k), -np.inf, np.float32)
        rows_QK = np.full((len(rows_QR), k), -1, np.int64)
        for query, rows in enumerate(np.sort(rows_QR, axis=1)):
            rows = rows[rows.searchsorted(0) :]  # −1 pads short results
            (scores,) = self.vectors.scores(queries_QD[query : query + 1], rows)
            order = (-scores).argsort(kind="stable")[:k]
            scores_QK[query, : len(order)], rows_QK[query, : len(order)] = scores[order], rows[order]
        return scores_QK, rows_QK


def candidates_of(index: Any, deleted: np.ndarray) -> Candidates:
    """A loaded index of any kind as a source of candidates, without deleted rows (ascending int64)."""
    return VamanaCandidates(index, deleted) if isinstance(index, Vamana) else FaissCandidates(index, deleted)


def _are_short(rows_QK: np.ndarray, wanted: int) -> np.ndarray:
    """Which queries have fewer than the wanted results: `Q` bool. What pads them is last."""
    return rows_QK[:, wanted - 1] < 0 if wanted else np.zeros(len(rows_QK), bool)


@contextmanager
def faiss_threads(count: int) -> Iterator[None]:
    """Runs FAISS with a number of OpenMP threads; the setting belongs to the calling Python thread."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)

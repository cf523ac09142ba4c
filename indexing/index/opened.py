"""An opened index: FAISS for the rows that it holds, exact search for those added since. Every search goes through it.

FAISS proposes candidates from its codes; their scores are computed anew from the rows, so every score is exact.

Shapes: Q queries, K results, R candidates, D dimension.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ...datasets.errors import InputError
from ..store.manifest import Manifest
from ..store.rowset import RowSet
from ..store.tombstones import read_deleted
from ..store.vectors import Vectors
from .candidates import Candidates
from .effort import EFFORTS, FAST, Breadth, Effort
from .exact import best, exact_search
from .stored import AGAIN, StoredIndex, index_folder, read_report
from .within import Within

log = logging.getLogger(__name__)


# Two files make an index, and a reader may come between the renames that replace them.
_PAUSES = (0.02, 0.1, 0.5)


class GalleryIndex:
    """Searches all rows of a gallery, whether or not an index has been built."""

    def __init__(
        self,
        vectors: Vectors,
        deleted: np.ndarray,
        load: Callable[[], Any] | None = None,
        report: Mapping[str, Any] | None = None,
    ) -> None:
        """See `GalleryIndex.open`; `load` gives the FAISS index that the report describes, when a search needs it."""
        self.vectors = vectors
        self.deleted = deleted[: np.searchsorted(deleted, len(vectors))]
        self.report = report
        # Rows that the FAISS index holds; the ones after them are searched exactly.
        self.num_indexed: int = report["num_rows"] if report and load else 0
        self._load = load
        self._loaded: Candidates | None = None
        self._loading = threading.Lock()
        self._within: WeakKeyDictionary[RowSet, Within] = WeakKeyDictionary()

    @classmethod
    def open(cls, root: Path, manifest: Manifest) -> GalleryIndex:
        """Opens what a gallery has now, in constant time: the codes of an index are read by the first search.

        Raises:
            InputError: if the index is damaged or belongs to another gallery.
        """
        vectors, deleted = Vectors(root, manifest), read_deleted(root)
        for pause in _PAUSES:
            report = read_report(root, manifest)
            if report is None:
                return cls(vectors, deleted)
            stored = StoredIndex.open(index_folder(root, manifest))
            if stored.belongs_to(report):
                return cls(vectors, deleted, partial(stored.load, memory_mapped=True), report)
            time.sleep(pause)  # a job is putting a new index in place
        log.warning("the index of %s is unfinished, so every row is compared; %s", root, AGAIN)
        return cls(vectors, deleted)

    @property
    def num_rows(self) -> int:
        """Rows that can be found: all but the deleted ones."""
        return len(self.vectors) - len(self.deleted)

    def search(
        self, queries_QD: np.ndarray, k: int, *, effort: Effort = "balanced", kind: str = "text"
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows of each query, without deleted ones.

        Args:
            queries_QD: float32, unit length.
            k: how many.
            effort: `fast`, `balanced` or `exact`, or the recall that is asked for; see `breadth`.
            kind: what the queries are, `text` or `image`: they need different breadths for the same recall.

        Returns:
            `scores_QK` float32 inner products, descending, and `rows_QK` int64; a gallery of fewer than k rows gives
            as many columns as it has rows.
        """
        return self.search_at(queries_QD, k, self.breadth(effort, kind, k))

    def search_at(self, queries_QD: np.ndarray, k: int, breadth: Breadth | None) -> tuple[np.ndarray, np.ndarray]:
        """The same at a given breadth; None compares with every row."""
        k = min(k, self.num_rows)
        queries_QD = np.ascontiguousarray(queries_QD, np.float32)
        if k < 1:
            return np.zeros((len(queries_QD), 0), np.float32), np.zeros((len(queries_QD), 0), np.int64)
        if not self.num_indexed or (breadth is None and not self._is_flat):
            return exact_search(self.vectors, queries_QD, k, deleted=self.deleted)
        scores_QK, rows_QK = self._nearest(self.candidates(), queries_QD, k, breadth)
        if self.num_indexed == len(self.vectors):
            return scores_QK, rows_QK
        scores_QN, rows_QN = exact_search(self.vectors, queries_QD, k, start=self.num_indexed, deleted=self.deleted)
        return best(np.hstack([scores_QK, scores_QN]), np.hstack([rows_QK, rows_QN]), k)

    def breadth(self, effort: Effort, kind: str, k: int) -> Breadth | None:
        """What an effort means here; None where every row is compared.

        A recall is reached by the cheapest breadth that was measured to reach it, for that kind of queries (for texts
        where that kind was not measured) and for at least k results; where none does, every row is compared.

        Raises:
            InputError: if there is no such effort.
        """
        target = self.recall(effort)
        table = (self.report or {}).get("tuning", {})
        points = table.get(kind, table.get("text", table.get("image", [])))
        tuned = sorted({point["k"] for point in points})
        # For more results than were tuned for the breadth grows with their number.
        tuned_k = next((number for number in tuned if number >= k), tuned[-1] if tuned else 0)
        reaching = [point for point in points if point["k"] == tuned_k and point["target"] >= target]
        if not reaching:
            return None
        point = min(reaching, key=lambda point: point["target"])
        scale = max(1.0, k / tuned_k)
        return Breadth(nprobe=int(point["nprobe"] * scale**0.5), candidates=int(point["candidates"] * scale))

    def strategy(self, effort: Effort, kind: str, k: int) -> str:
        """What a search does, for people."""
        breadth = self.breadth(effort, kind, k)
        if not self.num_indexed or breadth is None:
            return f"exact, all {self.num_rows} rows"
        return f"index, breadth {breadth.nprobe}, {breadth.candidates} candidates"

    def within(self, among: RowSet) -> Within:
        """The rows of a filter, to be searched; kept as long as the row set is."""
        with self._loading:
            found = self._within.get(among)
        if found is None:
            alive = RowSet.without(self.deleted, len(self.vectors))
            found = Within(self, among & alive)
            with self._loading:
                self._within[among] = found
        return found

    def candidates(self) -> Candidates:
        """The FAISS index, loaded by the first thread that needs it; others wait for that."""
        with self._loading:
            if self._loaded is None:
                assert self._load
                self._loaded = Candidates(self._load(), self.deleted)
                self._load = None  # with it goes the open file
            return self._loaded

    @property
    def _is_flat(self) -> bool:
        return bool(self.report) and self.report["spec"]["factory"] == "Flat"

    @cached_property
    def list_of_rows(self) -> np.ndarray:
        """The inverted list that each row of the index lies in, int32; worked out for the first filter."""
        return self.candidates().list_of_rows()

    def recall(self, effort: Effort) -> float:
        """The recall that an effort means; more than 1 where every row is to be compared.

        Raises:
            InputError: if there is no such effort.
        """
        if isinstance(effort, str) and effort in EFFORTS:
            balanced = (self.report or {}).get("target_recall", 1.0)
            return {"fast": min(FAST, balanced), "balanced": balanced, "exact": 2.0}[effort]
        try:
            target = float(effort)
        except ValueError:
            target = 0.0
        if not 0 < target <= 1:
            known = ", ".join(EFFORTS)
            raise InputError(f"the effort {effort!r} is not known; give one of {known}, or a recall up to 1")
        return target

    def _nearest(
        self, found_by: Candidates, queries_QD: np.ndarray, k: int, breadth: Breadth | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Candidates of the index, scored exactly; −inf and −1 fill up where it holds fewer than k rows."""
        wanted = min(k, found_by.num_alive)
        depth = max(breadth.candidates, k) if breadth else k
        rows_QR = found_by.rows(queries_QD, depth, breadth.nprobe if breadth else 0)
        if (short := _shorter(rows_QR, wanted)).any():  # the lists that were looked at hold too few rows
            rows_QR[short] = found_by.rows(queries_QD[short], depth, found_by.widest)
        scores_QK, rows_QK = self._scored(queries_QD, rows_QR, k)
        if (short := _shorter(rows_QR, wanted)).any():  # a graph that deleted rows have cut into pieces
            scores_QK[short], rows_QK[short] = exact_search(
                self.vectors, queries_QD[short], k, deleted=self.deleted, end=self.num_indexed
            )
        return scores_QK, rows_QK

    def _scored(self, queries_QD: np.ndarray, rows_QR: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best of the candidates of each query, by their exact scores."""
        scores_QK = np.full((len(rows_QR), k), -np.inf, np.float32)
        rows_QK = np.full((len(rows_QR), k), -1, np.int64)
        for query, candidates in enumerate(rows_QR):
            rows = np.sort(candidates[candidates >= 0])  # −1 pads short results
            (scores,) = self.vectors.scores(queries_QD[query][None], rows)
            order = np.argsort(-scores, kind="stable")[:k]
            scores_QK[query, : len(order)], rows_QK[query, : len(order)] = scores[order], rows[order]
        return scores_QK, rows_QK


def _shorter(rows_QR: np.ndarray, wanted: int) -> np.ndarray:
    """Which queries have fewer than the wanted candidates: `Q` bool."""
    return (rows_QR >= 0).sum(axis=1) < wanted


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

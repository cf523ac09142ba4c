"""A graph of SVS (Vamana, Subramanya et al. 2019) over the gallery's vectors, all of them in memory.

Several times as fast as inverted lists for one query at a time, at eight times their memory. It compares the float16
rows themselves, so its scores are exact. https://intel.github.io/ScalableVectorSearch

Shapes: Q queries, K results, R candidates.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .lists import InvertedLists, untyped_faiss

# As FAISS names the same index where it was compiled with SVS.
_FACTORY = re.compile(r"SVSVamana(\d+),FP16")
# The widest useful search window: beyond it, comparing every row is not much slower.
_WIDEST = 4096
# Queries that SVS answers in one call. It keeps Python's lock meanwhile, so other threads and Ctrl-C wait.
_TOGETHER = 256
# Further candidates that are asked for where rows are deleted, beside those that their share makes necessary.
_SPARE = 8


def degree(factory: str) -> int | None:
    """The number of edges per row that a factory string such as `SVSVamana64,FP16` asks for; None for another one."""
    return int(found[1]) if (found := _FACTORY.fullmatch(factory)) else None


@dataclass(frozen=True, slots=True)
class Vamana:
    """A graph that was loaded or built.

    Attributes:
        engine: SVS's index; None where it has no rows.
        num_rows: rows that it holds.
        folder: where its files are, for a job that writes them; None where it has no rows, and for a search.
    """

    engine: Any
    num_rows: int
    folder: Path | None = None


class VamanaCandidates:
    """`Candidates` from a graph of SVS."""

    are_scored = True
    lists: InvertedLists | None = None

    def __init__(self, graph: Vamana, deleted: np.ndarray) -> None:
        """`deleted` are row ids, int64."""
        self.num_rows = graph.num_rows
        deleted = deleted[deleted < self.num_rows]
        self.num_alive = self.num_rows - len(deleted)
        self.widest = min(_WIDEST, self.num_rows)
        self._engine = graph.engine
        self._is_deleted = np.zeros(self.num_rows, bool) if len(deleted) else None
        if self._is_deleted is not None:
            self._is_deleted[deleted] = True
        # The window is a setting of SVS's index, so a search must not begin between another one and its setting.
        self._searching = threading.Lock()

    def rows(self, queries_QD: np.ndarray, depth: int, nprobe: int) -> np.ndarray:
        """See `Candidates.rows`; `nprobe` is the search window."""
        return self.nearest(queries_QD, depth, nprobe)[1]

    def nearest(self, queries_QD: np.ndarray, k: int, nprobe: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best rows that a search with a window of `nprobe` rows finds.

        Args:
            queries_QD: float32.
            k: number of results.
            nprobe: search window; at least as wide as the number of rows that are asked for.

        Returns:
            `scores_QK` float32 inner products with the float16 rows, descending, padded with −inf, and `rows_QK` int64,
            padded with −1. Rows with equal scores are in ascending order.
        """
        count = k
        if self._is_deleted is not None:  # SVS knows nothing of deleted rows
            count = k * self.num_rows // max(self.num_alive, 1) + _SPARE
        count = min(count, self.num_rows)
        pieces = [
            self._search(queries_QD[low : low + _TOGETHER], count, max(nprobe, count))
            for low in range(0, len(queries_QD), _TOGETHER)
        ]
        scores_QR, rows_QR = pieces[0] if len(pieces) == 1 else map(np.concatenate, zip(*pieces, strict=True))
        if self._is_deleted is not None:
            gone_QR = self._is_deleted[rows_QR]
            scores_QR[gone_QR], rows_QR[gone_QR] = -np.inf, -1
        if (scores_QR[:, 1:] >= scores_QR[:, :-1]).any():  # deleted rows, or rows that tie
            order = np.lexsort((rows_QR, -scores_QR), axis=1)
            scores_QR, rows_QR = (np.take_along_axis(values, order, 1) for values in (scores_QR, rows_QR))
        return _padded(scores_QR, k, -np.inf), _padded(rows_QR, k, -1)

    def _search(self, queries_QD: np.ndarray, count: int, window: int) -> tuple[np.ndarray, np.ndarray]:
        num_threads = untyped_faiss().omp_get_max_threads() if len(queries_QD) > 1 else 0
        with self._searching:
            engine = self._engine
            if num_threads and engine.num_threads != num_threads:
                engine.num_threads = num_threads
            engine.search_window_size = window
            rows_QR, scores_QR = engine.search(queries_QD, count)
        return scores_QR, rows_QR.view(np.int64)


def _padded(values_QR: np.ndarray, k: int, filler: float) -> np.ndarray:
    """The first k columns, with further ones where there are fewer."""
    missing = k - values_QR.shape[1]
    return np.pad(values_QR, ((0, 0), (0, missing)), constant_values=filler) if missing > 0 else values_QR[:, :k]

"""The parts' vectors as one array of rows, memory-mapped, and exact search over them.

Shapes: N rows, D dimension, Q queries, K results.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..datasets.types import InputError
from .manifest import Manifest
from .parts import REMEDY, vectors_path

_BLOCK = 65_536  # rows of a block: 128 MB of float32 at 512 dimensions
_OPEN_FILES = 512  # below the 1024 that a process may usually have open
# Rows that are gathered at a time: they stay in the processor's cache until they are compared (twice as fast), and so
# few that numpy's library compares them on one thread, rather than wait for others on a busy machine.
_GATHERED = 512
# Queries × rows that are compared at a time: 64 MB of scores, so that they stay near the processor.
_SCORES = 1 << 24


class Vectors:
    """Rows of float16 on disk, read as float32. Opening costs nothing, whatever the size."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.dim = manifest.spec.dim
        self._root = root
        self._manifest = manifest
        self._starts = np.cumsum([0, *(count for _, count in manifest.parts)], dtype=np.int64)
        self._open = lru_cache(maxsize=_OPEN_FILES)(self._map)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def rows(self, rows_N: np.ndarray) -> np.ndarray:
        """The vectors of some rows, in the order asked for: `emb_ND` float32."""
        if not (np.diff(rows_N) > 0).all():  # in order they are read faster
            ordered, inverse = np.unique(rows_N, return_inverse=True)
            return self.rows(ordered)[inverse]
        if not len(rows_N):
            return np.zeros((0, self.dim), np.float32)
        if rows_N[0] < 0 or rows_N[-1] >= len(self):
            raise IndexError(
                f"rows {rows_N[0]} to {rows_N[-1]} asked for, the gallery has 0 to {len(self) - 1}"
            )  # −1 pads short results of a search: drop it first
        half_ND = np.empty((len(rows_N), self.dim), np.float16)
        cuts = np.searchsorted(rows_N, self._starts)
        for position in np.flatnonzero(np.diff(cuts)).tolist():
            some = slice(cuts[position], cuts[position + 1])
            np.take(self._open(position), rows_N[some] - self._starts[position], axis=0, out=half_ND[some], mode="clip")
        return _as_float32(half_ND)

    def scores(self, queries_QD: np.ndarray, rows_N: np.ndarray) -> np.ndarray:
        """Inner products of queries, float32, and some rows: `scores_QN` float32. Ascending rows are read faster."""
        scores_QN = np.empty((len(queries_QD), len(rows_N)), np.float32)
        for low in range(0, len(rows_N), _GATHERED):
            some = slice(low, low + _GATHERED)
            np.matmul(queries_QD, self.rows(rows_N[some]).T, out=scores_QN[:, some])
        return scores_QN

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """The rows from `start` to `end` in order, as pairs of first row and `emb_ND` float32 of bounded size."""
        end = len(self) if end is None else end
        first = 0
        for position, (_, count) in enumerate(self._manifest.parts):
            stop = min(count, end - first)
            for low in range(max(start - first, 0), stop, _BLOCK):
                yield first + low, _as_float32(self._open(position)[low : min(low + _BLOCK, stop)])
            first += count

    def _map(self, position: int) -> np.ndarray:
        number, count = self._manifest.parts[position]
        path = vectors_path(self._root, number)
        try:
            # A plain array: indexing a memmap costs more. Copy-on-write: torch wants to be allowed to write.
            array = np.asarray(np.load(path, mmap_mode="c"))
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path} is damaged ({error}); {REMEDY}") from error
        if array.shape != (count, self.dim) or array.dtype != np.float16:
            raise InputError(
                f"{path} holds {array.shape} values of {array.dtype}, {(count, self.dim)} of float16 were written; "
                f"{REMEDY}"
            )
        return array


def exact_search(
    vectors: Vectors,
    queries_QD: np.ndarray,
    k: int,
    *,
    start: int = 0,
    end: int | None = None,
    deleted: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of highest inner product among those from `start` to `end`, block by block.

    Args:
        vectors: all rows.
        queries_QD: float32.
        k: how many.
        start: the first row that counts.
        end: the row after the last one that counts.
        deleted: rows that do not count, ascending.

    Returns:
        `scores_QK` float32, descending, and `rows_QK` int64; where fewer than k rows exist, −inf and −1 fill up. Equal
        scores come in the order of rows.
    """
    scores_QK = np.full((len(queries_QD), k), -np.inf, np.float32)
    rows_QK = np.full((len(queries_QD), k), -1, np.int64)
    step = max(1, _SCORES // _BLOCK)
    for first, emb_ND in vectors.blocks(start, end):
        gone = _within(deleted, first, len(emb_ND))
        for low in range(0, len(queries_QD), step):
            some = slice(low, low + step)
            block_QN = queries_QD[some] @ emb_ND.T
            block_QN[:, gone] = -np.inf
            scores_QK[some], rows_QK[some] = _merged(scores_QK[some], rows_QK[some], block_QN, first)
    return scores_QK, rows_QK


def exact_search_among(
    vectors: Vectors, queries_QD: np.ndarray, k: int, rows_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of highest inner product among some rows, ascending; results as those of `exact_search`."""
    scores_QK = np.full((len(queries_QD), k), -np.inf, np.float32)
    rows_QK = np.full((len(queries_QD), k), -1, np.int64)
    for low in range(0, len(rows_N), _BLOCK):
        some_N = rows_N[low : low + _BLOCK]
        block_QN = vectors.scores(queries_QD, some_N)
        both = np.hstack([scores_QK, block_QN]), np.hstack([rows_QK, np.broadcast_to(some_N, block_QN.shape)])
        scores_QK, rows_QK = best(*both, k)
    return scores_QK, rows_QK


def best(scores_QN: np.ndarray, rows_QN: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of N candidates a query: scores descending, equal scores in the order of rows."""
    if scores_QN.shape[1] > 4 * k:  # a partial sort first; it keeps enough to settle ties below
        threshold_Q1 = -np.partition(-scores_QN, k - 1, axis=1)[:, k - 1 : k]
        kept = int((scores_QN >= threshold_Q1).sum(axis=1).max())
        top = np.argpartition(-scores_QN, kept - 1, axis=1)[:, :kept]
        scores_QN, rows_QN = np.take_along_axis(scores_QN, top, 1), np.take_along_axis(rows_QN, top, 1)
    order = np.lexsort((rows_QN, -scores_QN), axis=1)[:, :k]
    return np.take_along_axis(scores_QN, order, 1), np.take_along_axis(rows_QN, order, 1)


def _merged(
    scores_QK: np.ndarray, rows_QK: np.ndarray, block_QN: np.ndarray, first: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best of what was found before and of a block whose first row is `first`.

    After the first blocks few scores reach what has been found, and only those are sorted.
    """
    k = scores_QK.shape[1]
    for query, scores_N in enumerate(block_QN):
        local = np.flatnonzero(scores_N > scores_QK[query, -1])
        if len(local) > 4 * k:  # the first blocks
            threshold = -np.partition(-scores_N[local], k - 1)[k - 1]
            local = local[scores_N[local] >= threshold]
        if len(local):
            scores = np.concatenate([scores_QK[query], scores_N[local]])
            rows = np.concatenate([rows_QK[query], local + first])
            order = np.lexsort((rows, -scores))[:k]
            scores_QK[query], rows_QK[query] = scores[order], rows[order]
    return scores_QK, rows_QK


def _within(rows: np.ndarray | None, first: int, count: int) -> np.ndarray:
    """Those of some ascending rows that lie in a block, counted from its start."""
    if rows is None:
        return np.zeros(0, np.int64)
    low, high = np.searchsorted(rows, (first, first + count))
    return rows[low:high] - first


def _as_float32(half_ND: np.ndarray) -> np.ndarray:
    """Float16 → float32. torch does it with vector instructions: 25 times as fast as numpy here."""
    import torch

    return torch.from_numpy(half_ND).float().numpy()

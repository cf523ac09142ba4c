"""The parts' vectors as one array of rows, memory-mapped, and exact search over them.

Shapes: N rows, D dimension, Q queries, K results. `xb, xq, D, I` stay inside FAISS code.
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


class Vectors:
    """Rows of float16 on disk, read as float32. Opening costs nothing, whatever the size."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.dim = manifest.spec.dim
        self._root = root
        self._manifest = manifest
        self._open = lru_cache(maxsize=_OPEN_FILES)(self._map)

    def __len__(self) -> int:
        return self._manifest.num_rows

    def rows(self, rows_N: np.ndarray) -> np.ndarray:
        """The vectors of some rows, in the order asked for: `emb_ND` float32."""
        emb_ND = np.empty((len(rows_N), self.dim), np.float32)
        positions, local = self._manifest.locate(rows_N)
        for position in np.unique(positions):
            here = positions == position
            emb_ND[here] = self._open(int(position))[local[here]]
        return emb_ND

    def blocks(self, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """All rows from `start` on, in order, as pairs of first row and `emb_ND` float32 of bounded size."""
        first = 0
        for position, (_, count) in enumerate(self._manifest.parts):
            for low in range(max(start - first, 0), count, _BLOCK):
                yield first + low, self._open(position)[low : low + _BLOCK].astype(np.float32)
            first += count

    def _map(self, position: int) -> np.ndarray:
        number, count = self._manifest.parts[position]
        path = vectors_path(self._root, number)
        try:
            array = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path} is damaged ({error}); {REMEDY}") from error
        if array.shape != (count, self.dim):
            raise InputError(f"{path} holds {array.shape} values, {(count, self.dim)} were written; {REMEDY}")
        return array


def exact_search(vectors: Vectors, queries_QD: np.ndarray, k: int, *, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of highest inner product among those from `start` on, block by block.

    Returns:
        `scores_QK` float32, descending, and `rows_QK` int64; where fewer than k rows exist, −inf and −1 fill up. Equal
        scores come in the order of rows.
    """
    scores_QK = np.full((len(queries_QD), k), -np.inf, np.float32)
    rows_QK = np.full((len(queries_QD), k), -1, np.int64)
    for first, emb_ND in vectors.blocks(start):
        block_QN = queries_QD @ emb_ND.T
        rows_QN = np.broadcast_to(np.arange(first, first + len(emb_ND)), block_QN.shape)
        scores_QK, rows_QK = best(np.hstack([scores_QK, block_QN]), np.hstack([rows_QK, rows_QN]), k)
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

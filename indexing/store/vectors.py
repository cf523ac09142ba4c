"""The parts' vectors as one memory-mapped array of rows.

Shapes: N rows, D dimension, Q queries.
"""

from __future__ import annotations

import mmap
import resource
import sys
from collections.abc import Iterator
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np

from ...datasets.errors import InputError
from ...datasets.recent import Recent
from .layout import text_vectors_path, vectors_path
from .npy import map_part
from .records import REMEDY
from .snapshot import Snapshot

BLOCK = 65_536  # rows of a block: 128 MB of float32 at 512 dimensions
_OPEN_FILES = 512  # below the 1024 that a process may usually have open
# Smaller files are read as a whole, which takes no longer than mapping them; thousands of them are kept, which needs no
# open file. Bytes of one, and of all.
_SMALL, _KEPT_BYTES = 64 << 10, 128 << 20
# Rows that are gathered at a time: they stay in the CPU cache until they are compared (twice as fast), and are so few
# that numpy's BLAS compares them on one thread instead of waiting for other threads on a busy machine.
_GATHERED = 512
# Numpy converts so many values in some milliseconds.
_FEW_VALUES = 1 << 20
_WHO = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


class Vectors:
    """The vectors of a snapshot's rows, or of their captions: float16 on disk, read as float32.

    Opening takes constant time.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.dim = snapshot.spec.dim
        self._parts = snapshot.manifest.parts
        self._starts = np.cumsum([0, *(count for _, count in self._parts)], dtype=np.int64)
        self._files = _Files(snapshot)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def rows(self, rows_N: np.ndarray) -> np.ndarray:
        """The vectors of some rows, in the order given: `emb_ND` float32.

        Raises:
            IndexError: if a row id is not one of the gallery's.
            InputError: if a file of vectors is missing or damaged.
        """
        if not (rows_N[1:] > rows_N[:-1]).all():  # ascending rows are read faster
            ordered, inverse = np.unique(rows_N, return_inverse=True)
            return self.rows(ordered)[inverse]
        if not len(rows_N):
            return np.zeros((0, self.dim), np.float32)
        if rows_N[0] < 0 or rows_N[-1] >= len(self):
            raise IndexError(
                f"rows {rows_N[0]} to {rows_N[-1]} were asked for, the gallery has 0 to {len(self) - 1}"
            )  # −1 pads short results of a search: drop it first
        half_ND = np.empty((len(rows_N), self.dim), np.float16)
        positions_N = self._starts.searchsorted(rows_N, side="right") - 1
        cuts = [0, *((positions_N[1:] != positions_N[:-1]).nonzero()[0] + 1).tolist(), len(rows_N)]
        pieces = [(int(positions_N[low]), slice(low, high)) for low, high in pairwise(cuts)]
        if self._files.is_on_disk(pieces[0][0], int(rows_N[0] - self._starts[pieces[0][0]])):
            for position, some in pieces:
                self._files.read_ahead(position, rows_N[some] - self._starts[position])
        for position, some in pieces:
            # Methods, because numpy's functions take longer than taking a row does; "clip", else `out` is buffered.
            self._files.open(position).take(rows_N[some] - self._starts[position], 0, half_ND[some], "clip")
        return _as_float32(half_ND)

    def scores(self, queries_QD: np.ndarray, rows_N: np.ndarray) -> np.ndarray:
        """Inner products of float32 queries and some rows: `scores_QN` float32. Ascending rows are read faster."""
        if len(rows_N) <= _GATHERED:
            return queries_QD @ self.rows(rows_N).T
        scores_QN = np.empty((len(queries_QD), len(rows_N)), np.float32)
        for low in range(0, len(rows_N), _GATHERED):
            some = slice(low, low + _GATHERED)
            np.matmul(queries_QD, self.rows(rows_N[some]).T, out=scores_QN[:, some])
        return scores_QN

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """The rows from `start` to `end` in order: a first row, and `emb_ND` float32 of at most `BLOCK` rows.

        Rows of small parts come together, because each block costs a reader some time.
        """
        end = len(self) if end is None else end
        for first in range(start, end, BLOCK):
            pieces = list(self.stored(first, min(first + BLOCK, end)))
            yield first, _as_float32(pieces[0] if len(pieces) == 1 else np.concatenate(pieces))

    def stored(self, start: int = 0, end: int | None = None) -> Iterator[np.ndarray]:
        """The rows from `start` to `end` as they are stored, part by part: `emb_ND` float16, mapped."""
        end = len(self) if end is None else end
        position = int(np.searchsorted(self._starts, start, side="right")) - 1
        while start < end:
            first, behind = int(self._starts[position]), int(self._starts[position + 1])
            if start < behind:
                yield self._files.open(position)[start - first : min(behind, end) - first]
                start = min(behind, end)
            position += 1

    def rows_without(self) -> np.ndarray:
        """The rows whose vector is zero or not finite, ascending; all vectors are read."""
        found = [first + np.flatnonzero(~are_usable(emb_ND)) for first, emb_ND in self.blocks()]
        return np.concatenate([np.zeros(0, np.int64), *found])


class _Files:
    """The files of the vectors, apart from `Vectors`, so that no cycle of references keeps files open after it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._dim = snapshot.spec.dim
        self._root = snapshot.root
        self._path = text_vectors_path if snapshot.over == "captions" else vectors_path
        self._parts = snapshot.manifest.parts
        self._checked: set[int] = set()
        self._small: Recent[int, np.ndarray] = Recent(_KEPT_BYTES, attrgetter("nbytes"))
        self._mapped = Recent[int, np.ndarray](_OPEN_FILES, lambda _: 1)

    def open(self, position: int) -> np.ndarray:
        """The vectors of a part, by its position in the manifest: `emb_ND` float16.

        Raises:
            InputError: if the file is missing or damaged.
        """
        is_small = 2 * self._dim * self._parts[position][1] <= _SMALL
        kept = self._small if is_small else self._mapped
        if (found := kept.get(position)) is None:
            mapped = self._map(position)
            found = mapped.copy() if is_small else mapped
            kept.put(position, found)
        return found

    def is_on_disk(self, position: int, row: int) -> bool:
        """Whether a row of a part had to be read from the disk; it is in memory now."""
        array = self.open(position)
        before = _num_disk_reads()
        array[row, 0]
        return _num_disk_reads() > before

    def read_ahead(self, position: int, rows_N: np.ndarray) -> None:
        """Has the system read some rows of a part, all at a time, and does not wait for them.

        Without that, rows are read one after another, each with up to megabytes around it. With it, 300 rows of
        10 GB take 10 ms instead of 3 s on a disk that the system reads 8 MB ahead of.
        """
        memmap: Any = self.open(position).base
        if memmap is None:  # a small file, which has been read
            return
        mapped, size = memmap.base, memmap.strides[0]
        for start in (memmap.offset + size * rows_N).tolist():
            page = start - start % mmap.PAGESIZE
            mapped.madvise(mmap.MADV_WILLNEED, page, start + size - page)

    def _map(self, position: int) -> np.ndarray:
        number, count = self._parts[position]
        path = self._path(self._root, number)
        # A plain array, because indexing a memmap costs more; copy-on-write, because torch needs writable memory.
        array = np.asarray(map_part(self._root, number, path, is_checked=number in self._checked))
        self._checked.add(number)
        if array.shape != (count, self._dim) or array.dtype != np.float16:
            raise InputError(
                f"{path} holds {array.shape} values of {array.dtype}, {(count, self._dim)} of float16 were written; "
                f"{REMEDY}"
            )
        return array


def _num_disk_reads() -> int:
    """How often this thread (on macOS: this process) has waited for a page of a file to be read from the disk."""
    return resource.getrusage(_WHO).ru_majflt


def are_usable(emb_ND: np.ndarray) -> np.ndarray:
    """Which vectors have a direction, so that they can be compared: not zero and finite. `N` bool."""
    squares_N = np.einsum("nd,nd->n", emb_ND, emb_ND)
    return np.isfinite(squares_N) & (squares_N > 0)


def _as_float32(half_ND: np.ndarray) -> np.ndarray:
    """Float16 to float32. torch uses vector instructions: 25 times as fast as numpy here, but a second to import."""
    if half_ND.size <= _FEW_VALUES and "torch" not in sys.modules:
        return half_ND.astype(np.float32)
    import torch

    return torch.from_numpy(half_ND).float().numpy()

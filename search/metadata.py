"""Row ids → rows of metadata, reading only the row groups that they lie in, and only the columns that are asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..datasets import InputError
from ..indexing.duplicates import Duplicates
from ..indexing.manifest import Manifest
from ..indexing.parts import REMEDY, metadata_path

# Files that are kept open, and the column chunks that they may have, each of which takes some 300 bytes: opening one
# costs more than reading a row.
_OPEN_FILES, _OPEN_CHUNKS = 256, 250_000
# Parts that are read at a time: decompression runs beside Python.
_THREADS = 4
_DUPLICATE_OF = "duplicate_of"


class Metadata:
    """The metadata of all parts. Opening costs nothing; memory does not grow with the gallery. Threads may share it."""

    def __init__(self, root: Path, manifest: Manifest, duplicates: Duplicates | None = None) -> None:
        self._root = root
        self._manifest = manifest
        self._duplicates = duplicates
        self._open: OrderedDict[int, _File] = OrderedDict()
        self._num_chunks = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="metadata")

    def rows(self, rows_N: np.ndarray, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The metadata of some rows, in the order asked for; with `duplicate_of` where near-duplicates are known.

        Args:
            rows_N: row ids.
            columns: their names as they are written; by default all. A part that lacks one leaves it out.

        Raises:
            IndexError: if a row is not one of the gallery's.
            InputError: if metadata is damaged.
        """
        positions_N, local_N = self._manifest.locate(rows_N)
        positions = np.unique(positions_N)
        places = [np.flatnonzero(positions_N == position) for position in positions]
        numbers = [self._manifest.parts[position][0] for position in positions.tolist()]
        read = map if len(numbers) < _THREADS else self._pool.map  # for a few parts threads would cost more
        records_of_parts = read(self._read, numbers, [local_N[here] for here in places], repeat(columns))
        found: list[dict[str, Any]] = [{}] * len(rows_N)
        for here, records in zip(places, records_of_parts, strict=True):
            for place, record in zip(here.tolist(), records, strict=True):
                found[place] = record
        if self._duplicates is not None and (columns is None or _DUPLICATE_OF in columns):
            representatives = self._duplicates.representatives(rows_N)
            for record, row, other in zip(found, rows_N.tolist(), representatives.tolist(), strict=True):
                record[_DUPLICATE_OF] = other if other != row else None
        return found

    def _read(self, number: int, local_N: np.ndarray, columns: Sequence[str] | None) -> list[dict[str, Any]]:
        """Rows of one part."""
        file = self._file(number)
        groups_N = np.searchsorted(file.ends, local_N, side="right")
        groups = np.unique(groups_N)
        starts = np.concatenate([[0], file.ends])
        # The rows of the chosen groups stand one behind the other in the table that is read.
        before = np.concatenate([[0], np.cumsum(file.ends[groups] - starts[groups])])
        places_N = local_N - starts[groups_N] + before[np.searchsorted(groups, groups_N)]
        names = None if columns is None else [name for name in file.names if name in columns]
        try:
            with file.lock:
                table = file.parquet.read_row_groups(groups.tolist(), columns=names, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(metadata_path(self._root, number), error) from error
        values = dict(zip(table.column_names, table.columns, strict=True))
        return [{name: column[place].as_py() for name, column in values.items()} for place in places_N.tolist()]

    def _file(self, number: int) -> _File:
        with self._lock:
            if (kept := self._open.get(number)) is not None:
                self._open.move_to_end(number)
                return kept
        file = _File(metadata_path(self._root, number))
        with self._lock:
            if number not in self._open:
                self._open[number] = file
                self._num_chunks += file.num_chunks
            while len(self._open) > 1 and (len(self._open) > _OPEN_FILES or self._num_chunks > _OPEN_CHUNKS):
                self._num_chunks -= self._open.popitem(last=False)[1].num_chunks
        return file


class _File:
    """An open file of metadata; `ends` is the row after the last one of each row group."""

    def __init__(self, path: Path) -> None:
        try:
            self.parquet = pq.ParquetFile(path, memory_map=True)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(path, error) from error
        footer = self.parquet.metadata
        self.names = self.parquet.schema_arrow.names
        self.ends = np.cumsum([footer.row_group(i).num_rows for i in range(footer.num_row_groups)])
        self.num_chunks = footer.num_row_groups * footer.num_columns
        self.lock = threading.Lock()


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is damaged ({error}); {REMEDY}")

"""Row ids to rows of metadata. Only the row groups that hold them, and only the wanted columns, are read."""

from __future__ import annotations

import functools
import operator
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.errors import InputError
from ...datasets.files import refuse_unless_damaged
from .duplicates import Duplicates
from .layout import metadata_path
from .moves import Moves
from .records import REMEDY, check_file
from .snapshot import Snapshot

# Column chunks whose positions are kept, about 400 bytes each: parsing a footer takes longer than reading a row.
_KEPT_CHUNKS = 400_000
_DUPLICATE_OF = "duplicate_of"


class Metadata:
    """The metadata of one snapshot. Threads may share it.

    Opening it reads nothing, and its memory does not grow with the gallery.
    """

    def __init__(self, snapshot: Snapshot, duplicates: Duplicates | None = None) -> None:
        self._root = snapshot.root
        self._manifest = snapshot.manifest
        self._duplicates = duplicates
        self._moves = Moves.read(snapshot.root)
        self._footers: OrderedDict[int, _Footer] = OrderedDict()
        self._num_chunks = 0
        self._lock = threading.Lock()

    def rows(self, rows_N: np.ndarray, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The metadata of some rows, in the order given; with `duplicate_of` where near-duplicates are known.

        Args:
            rows_N: row ids.
            columns: names as they are written; by default all. A row of a part without such a column lacks it.

        Raises:
            IndexError: if a row is not one of the gallery's.
            InputError: if metadata is damaged.
        """
        positions_N, local_N = self._manifest.locate(rows_N)
        positions = np.unique(positions_N)
        places = [np.flatnonzero(positions_N == position) for position in positions]
        numbers = [self._manifest.parts[position][0] for position in positions.tolist()]
        tables = [self._read(number, local_N[here], columns) for number, here in zip(numbers, places, strict=True)]
        found: list[dict[str, Any]] = [{}] * len(rows_N)
        for these in _of_one_schema(tables):
            these_N = np.concatenate([places[i] for i in these]).tolist()
            records = pa.concat_tables([tables[i] for i in these]).to_pylist()
            records = records or [{} for _ in these_N]  # a table without columns has no rows either
            for place, record in zip(these_N, records, strict=True):
                found[place] = self._placed(record)
        if self._duplicates is not None and (columns is None or _DUPLICATE_OF in columns):
            representatives = self._duplicates.representatives(rows_N)
            for record, row, other in zip(found, rows_N.tolist(), representatives.tolist(), strict=True):
                record[_DUPLICATE_OF] = other if other != row else None
        return found

    def _placed(self, record: dict[str, Any]) -> dict[str, Any]:
        """A row whose image is named by the place where it is now. Rows without a shard were imported."""
        if record.get("shard"):
            record["shard"] = self._moves.now(record["shard"])
        elif record.get("image_path") and "shard" in record:
            record["image_path"] = self._moves.now(record["image_path"])
        return record

    def _read(self, number: int, local_N: np.ndarray, columns: Sequence[str] | None) -> pa.Table:
        """Rows of one part, in the order given."""
        footer = self._footer(number)
        groups_N = np.searchsorted(footer.ends, local_N, side="right")
        groups = np.unique(groups_N)
        starts = np.concatenate([[0], footer.ends])
        # The table that is read holds the rows of the chosen groups, one group after another.
        before = np.concatenate([[0], np.cumsum(footer.ends[groups] - starts[groups])])
        places_N = local_N - starts[groups_N] + before[np.searchsorted(groups, groups_N)]
        schema = pa.schema([field for field in footer.schema if columns is None or field.name in columns])
        empty = footer.empty_columns(groups.tolist())
        names = [name for name in schema.names if name not in empty]
        path = metadata_path(self._root, number)
        try:
            with pq.ParquetFile(path, memory_map=True, metadata=footer.parsed, page_checksum_verification=True) as file:
                table = file.read_row_groups(groups.tolist(), columns=names, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            refuse_unless_damaged(error, path)
            raise _damaged(path, error) from error
        # A slice is a view, which costs less than copying rows.
        rows = pa.concat_tables([table.slice(place, 1) for place in places_N.tolist()])
        return pa.Table.from_arrays(
            [pa.nulls(len(local_N), field.type) if field.name in empty else rows[field.name] for field in schema],
            schema=schema,
        )

    def _footer(self, number: int) -> _Footer:
        with self._lock:
            if (kept := self._footers.get(number)) is not None:
                self._footers.move_to_end(number)
                return kept
        path = metadata_path(self._root, number)
        check_file(self._root, number, path)
        footer = _Footer(path)
        with self._lock:
            if number not in self._footers:
                self._footers[number] = footer
                self._num_chunks += footer.num_chunks
            while len(self._footers) > 1 and self._num_chunks > _KEPT_CHUNKS:
                self._num_chunks -= self._footers.popitem(last=False)[1].num_chunks
        return footer


def _of_one_schema(tables: Sequence[pa.Table]) -> list[list[int]]:
    """The positions of tables that have the same columns: parts may differ."""
    found: dict[tuple[str, ...], list[int]] = {}
    for place, table in enumerate(tables):
        found.setdefault(tuple(map(str, table.schema)), []).append(place)
    return list(found.values())


class _Footer:
    """The layout of a metadata file; `ends` holds the row after the last row of each row group."""

    def __init__(self, path: Path) -> None:
        try:
            self.parsed = pq.read_metadata(path, memory_map=True)
        except (OSError, pa.ArrowException) as error:
            refuse_unless_damaged(error, path)
            raise _damaged(path, error) from error
        self.schema = self.parsed.schema.to_arrow_schema().remove_metadata()
        self._empty: dict[int, int] = {}
        groups = range(self.parsed.num_row_groups)
        self.ends = np.cumsum([self.parsed.row_group(i).num_rows for i in groups], dtype=np.int64)
        self.num_chunks = self.parsed.num_row_groups * self.parsed.num_columns

    def empty_columns(self, groups: Sequence[int]) -> set[str]:
        """The columns without a value in some row groups, which need not be read: half of an import's, for example."""
        bits = functools.reduce(operator.and_, map(self._empty_in, groups))
        return {self.parsed.schema.column(i).name for i in range(self.parsed.num_columns) if bits >> i & 1}

    def _empty_in(self, number: int) -> int:
        """A bit for each column without a value in one row group. Columns of lists and structs count as having some."""
        if (kept := self._empty.get(number)) is None:
            group, kept = self.parsed.row_group(number), 0
            for i in range(self.parsed.num_columns):
                chunk = group.column(i)
                statistics = chunk.statistics if "." not in chunk.path_in_schema else None
                is_empty = (
                    statistics is not None and statistics.has_null_count and statistics.null_count == group.num_rows
                )
                kept |= is_empty << i
            self._empty[number] = kept
        return kept


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is damaged ({error}); {REMEDY}")

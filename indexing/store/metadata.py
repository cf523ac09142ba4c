"""Row ids to rows of metadata: from the row store, and from the parts what it does not have.

Of a part only the row groups that hold the rows, and only the wanted columns, are read.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.recent import Recent
from .duplicates import Duplicates
from .layout import metadata_path
from .metadata_file import opened_metadata
from .moves import Moves
from .records import check_file
from .rows.reading import RowStore
from .snapshot import Snapshot
from .tables import has_no_value

_Columns: TypeAlias = "dict[str, pa.Array]"

# Column chunks whose positions are kept, about 400 bytes each: parsing a footer takes longer than reading a row.
_KEPT_CHUNKS = 400_000
# Bytes of decoded row groups that are kept: reading a row group takes twenty times as long as finding a row in it. This
# is the metadata of some hundred thousand rows.
_KEPT_BYTES = 128 << 20
_ARRAY_BYTES = 300  # of memory for an array, beside its values
_DUPLICATE_OF = "duplicate_of"


class Metadata:
    """The metadata of one snapshot. Threads may share it.

    Opening it reads nothing, and its memory is bounded, whatever the size of the gallery.
    """

    def __init__(self, snapshot: Snapshot, duplicates: Duplicates | None = None, store: RowStore | None = None) -> None:
        self._root = snapshot.root
        self._manifest = snapshot.manifest
        self._duplicates = duplicates
        self._store = store or RowStore(snapshot)
        self._moves = Moves.read(snapshot.root)
        self._footers: Recent[int, _Footer] = Recent(_KEPT_CHUNKS, lambda footer: footer.num_chunks)
        self._groups: Recent[tuple[int, int], _Columns] = Recent(_KEPT_BYTES, _num_bytes)

    def rows(self, rows_N: np.ndarray, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The metadata of some rows, in the order given; with `duplicate_of` where near-duplicates are known.

        Args:
            rows_N: row ids.
            columns: names as they are written; by default all. A row of a part without such a column lacks it.

        Raises:
            IndexError: if a row is not one of the gallery's.
            InputError: if metadata is damaged.
        """
        num_rows = self._manifest.num_rows
        if rows_N.size and not (rows_N.min() >= 0 and rows_N.max() < num_rows):
            self._manifest.locate(rows_N)  # says which
        rows = rows_N.tolist()
        wanted = None if columns is None else frozenset(columns)
        found = [self._store.row(row, wanted) for row in rows]
        if places := [place for place, record in enumerate(found) if record is None]:
            for place, record in zip(places, self._of_parts(rows_N[places], columns), strict=True):
                found[place] = record
        records = [self._placed(record) for record in found if record is not None]
        if self._duplicates is not None and (columns is None or _DUPLICATE_OF in columns):
            representatives = self._duplicates.representatives(rows_N)
            for record, row, other in zip(records, rows, representatives.tolist(), strict=True):
                record[_DUPLICATE_OF] = other if other != row else None
        return records

    def _of_parts(self, rows_N: np.ndarray, columns: Sequence[str] | None) -> list[dict[str, Any]]:
        """The metadata of some rows, from the files of their parts."""
        positions, local = (each.tolist() for each in self._manifest.locate(rows_N))
        places: dict[int, list[int]] = {}  # by the position of a part: a few rows of many parts are the usual case
        for place, position in enumerate(positions):
            places.setdefault(position, []).append(place)
        found: list[dict[str, Any]] = [{}] * len(positions)
        for position in sorted(places):
            records = self._read(self._manifest.parts[position][0], [local[i] for i in places[position]], columns)
            for place, record in zip(places[position], records, strict=True):
                found[place] = record
        return found

    def _placed(self, record: dict[str, Any]) -> dict[str, Any]:
        """A row whose image is named by the place where it is now. Rows without a shard were imported."""
        if record.get("shard"):
            record["shard"] = self._moves.now(record["shard"])
        elif record.get("image_path") and "shard" in record:
            record["image_path"] = self._moves.now(record["image_path"])
        return record

    def _read(self, number: int, rows: Sequence[int], columns: Sequence[str] | None) -> Iterator[dict[str, Any]]:
        """Rows of one part, in the order given."""
        footer = self._footer(number)
        names = footer.names if columns is None else [name for name in footer.names if name in columns]
        groups = [bisect_right(footer.starts, row) - 1 for row in rows]
        values = self._row_groups(number, footer, sorted(set(groups)), names)
        for group, row in zip(groups, rows, strict=True):
            own, place = values[group], row - footer.starts[group]
            yield {name: own[name][place].as_py() if name in own else None for name in names}

    def _row_groups(
        self, number: int, footer: _Footer, groups: Sequence[int], names: Sequence[str]
    ) -> dict[int, _Columns]:
        """Some columns of some row groups of a part, by group and name; a column without any value is left out."""
        found = {group: self._groups.get((number, group)) or {} for group in groups}
        wanted = {group: [n for n in footer.with_values(group, names) if n not in found[group]] for group in groups}
        if not any(wanted.values()):
            return found
        path = metadata_path(self._root, number)
        with opened_metadata(path, footer=footer.parsed, memory_map=True) as file:
            for group in filter(wanted.get, groups):
                table = file.read_row_group(group, columns=wanted[group], use_threads=False)
                # What was found before may be dropped by now: there may be no room, or another thread needs it.
                found[group] = found[group] | {name: table[name].combine_chunks() for name in wanted[group]}
                self._groups.put((number, group), found[group])
        return found

    def _footer(self, number: int) -> _Footer:
        if (kept := self._footers.get(number)) is not None:
            return kept
        path = metadata_path(self._root, number)
        check_file(self._root, number, path)
        footer = _Footer(path)
        self._footers.put(number, footer)
        return footer


class _Footer:
    """The layout of a metadata file; `starts` holds the first row of each row group."""

    def __init__(self, path: Path) -> None:
        with opened_metadata(path, memory_map=True) as file:
            self.parsed = file.metadata
        self.names: list[str] = self.parsed.schema.to_arrow_schema().names
        counts = [self.parsed.row_group(i).num_rows for i in range(self.parsed.num_row_groups)]
        self.starts = list(itertools.accumulate(counts, initial=0))[:-1]
        self.num_chunks = self.parsed.num_row_groups * self.parsed.num_columns
        self._empty: dict[int, frozenset[str]] = {}

    def with_values(self, number: int, names: Sequence[str]) -> list[str]:
        """Those of some columns that have a value in a row group. Half of an import's have none."""
        if (empty := self._empty.get(number)) is None:
            empty = self._empty[number] = _empty_columns(self.parsed, number)
        return [name for name in names if name not in empty]


def _empty_columns(footer: pq.FileMetaData, number: int) -> frozenset[str]:
    """The columns without a value in a row group; columns of lists count as having one."""
    columns = {i: footer.schema.column(i) for i in range(footer.num_columns)}
    group = footer.row_group(number)
    return frozenset(
        column.path for i, column in columns.items() if not column.max_repetition_level and has_no_value(group, i)
    )


def _num_bytes(columns: _Columns) -> int:
    return sum(array.nbytes + _ARRAY_BYTES for array in columns.values())

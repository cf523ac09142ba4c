"""The metadata of all parts as columns, each of one type, read when they are needed and kept in memory.

Parts may differ in their fields, and in the type of a field: a column has one type that holds all its values as they
are, or it is text; see `tables.common_type`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.conditions import unknown_column
from ...datasets.errors import InputError
from ...datasets.files import refuse_unless_damaged
from ...datasets.names import IN_CONDITIONS, NAMES, TEXT_MEANINGS, meaning_in_condition
from ...datasets.recent import Recent
from .duplicates import Duplicates
from .layout import metadata_path
from .records import REMEDY, check_file
from .snapshot import Snapshot
from .tables import COLUMNS, EXACT_INTEGER, as_texts, common_type, has_no_value

# Memory for columns; those used last are kept. A number takes 8 bytes per row.
MEMORY_BYTES = 1 << 30
# About this many rows are read, kept and returned together.
_BLOCK = 1_000_000
# Rows that are read together, where they are not kept.
_BATCH = 1 << 16
_DUPLICATE_OF = "duplicate_of"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """A column of a part: its name as written, and its type, which is null where it has no value."""

    name: str
    type: pa.DataType
    is_exact: bool  # whether every value, if it is an integer, is exactly a float64


_Fields = dict[str, _Field]  # by name in lower case


class Columns:
    """The columns of one snapshot, by name without regard to case, as in SQL. Threads may share it."""

    def __init__(
        self, snapshot: Snapshot, duplicates: Duplicates | None = None, *, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        """Reads nothing yet.

        Args:
            snapshot: the gallery.
            duplicates: its near-duplicates, where they are known: one more column, `duplicate_of`.
            memory_bytes: memory for columns; those used last are kept.
        """
        self._root = snapshot.root
        self._manifest = snapshot.manifest
        self._duplicates = duplicates
        self._kept: Recent[tuple[int, str], pa.ChunkedArray] = Recent(memory_bytes, attrgetter("nbytes"))

    @property
    def num_rows(self) -> int:
        """Rows of all parts, deleted ones included."""
        return self._manifest.num_rows

    @property
    def num_parts(self) -> int:
        """Parts, those without rows included."""
        return len(self._manifest.parts)

    @property
    def names(self) -> list[str]:
        """All columns as they are written, and the other names that LAION-style tables have for them."""
        aliases = [alias for meaning in IN_CONDITIONS for alias in NAMES[meaning] if alias not in self._names]
        return [*self._names.values(), *(alias for alias in aliases if self._own(alias))]

    def spellings(self, name: str) -> list[str]:
        """How a column is written in the parts that have it.

        Args:
            name: its own name, or another name that LAION-style tables have for it.

        Raises:
            InputError: if there is no such column.
        """
        own = self._own(name)
        if own is None:
            unknown = unknown_column(name, self.names, owner="the gallery's rows")
            raise InputError(f"the search names {unknown}")
        written = {fields[own].name: None for fields in self._fields.values() if own in fields}
        return list(written) or [self._names[own]]

    def blocks(self, names: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """Some columns, by blocks of rows: the first row of each block, and a table with the given names.

        Raises:
            KeyError: if there is no such column.
            InputError: if metadata is damaged.
        """
        own = {name: self._own(name) or _missing(name) for name in names}
        for first, parts in self._manifest.blocks(_BLOCK):
            columns = {name: self._column(first, parts, column) for name, column in own.items()}
            # A table without columns would have no rows either.
            columns["_diantu"] = pa.chunked_array([pa.nulls(sum(count for _, count in parts))])
            yield first, pa.table(columns)

    @property
    def types(self) -> dict[str, pa.DataType]:
        """The type of each column, by its name as written."""
        return {self._names[lower]: kind for lower, kind in self._types.items()}

    def batches(self, positions: Iterable[int]) -> Iterator[tuple[int, pa.Table]]:
        """All columns of some parts, a bounded number of rows at a time, which are not kept in memory.

        Args:
            positions: of the parts in the manifest.

        Yields:
            The first row of each batch, and a table of the columns that the part has.

        Raises:
            InputError: if metadata is damaged.
        """
        parts = self._manifest.parts
        firsts = np.cumsum([0, *(count for _, count in parts)]).tolist()
        for position in positions:
            first = firsts[position]
            for table in self._batches(parts[position][0]) if parts[position][1] else ():
                if self._duplicates is not None:
                    table = table.append_column(_DUPLICATE_OF, self._duplicates.column(first, len(table)))
                yield first, table
                first += len(table)

    def _own(self, name: str) -> str | None:
        """The column that a name means: its own, or the one that other tables call by this name."""
        name = name.lower()
        if name in self._types:
            return name
        meaning = meaning_in_condition(name)
        if meaning is None:
            return None
        fits = pa.types.is_string if meaning in TEXT_MEANINGS else _is_number
        # LAION's NSFW column, with values such as UNLIKELY and UNSURE, is not a punsafe score.
        return next((alias for alias in NAMES[meaning] if fits(self._types.get(alias, pa.null()))), None)

    def _column(self, first: int, parts: Sequence[tuple[int, int]], name: str) -> pa.ChunkedArray:
        if (kept := self._kept.get((first, name))) is not None:
            return kept
        column = self._read(first, parts, name)
        self._kept.put((first, name), column)
        return column

    def _read(self, first: int, parts: Sequence[tuple[int, int]], name: str) -> pa.ChunkedArray:
        if name == _DUPLICATE_OF and self._duplicates is not None:
            return pa.chunked_array([self._duplicates.column(first, sum(count for _, count in parts))])
        kind = self._types[name]
        chunks = [chunk for number, count in parts for chunk in self._of_part(number, count, name, kind)]
        return pa.chunked_array(chunks, kind)

    def _of_part(self, number: int, count: int, name: str, kind: pa.DataType) -> Iterable[pa.Array]:
        field = self._fields.get(number, {}).get(name)
        if field is None or field.type == pa.null():
            return [pa.nulls(count, kind)]
        with self._opened(number) as file:
            column = file.read(columns=[field.name])[field.name]
        return _as_type(column, kind).chunks

    def _batches(self, number: int) -> Iterator[pa.Table]:
        fields = self._fields[number].items()
        with self._opened(number) as file:
            for batch in file.iter_batches(_BATCH, use_threads=False):  # it runs beside searches
                table = pa.table(batch)
                yield pa.table(
                    {self._names[lower]: _as_type(table[field.name], self._types[lower]) for lower, field in fields}
                )

    @contextmanager
    def _opened(self, number: int) -> Iterator[pq.ParquetFile]:
        """The metadata file of a part; damage that is found while it is read is told in one sentence."""
        path = metadata_path(self._root, number)
        try:  # the file was compared with its checksum when its fields were read, and its pages have checksums
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                yield file
        except (OSError, pa.ArrowException) as error:
            refuse_unless_damaged(error, path)
            raise InputError(f"{path} is damaged ({_line(error)}); {REMEDY}") from error

    @cached_property
    def _fields(self) -> dict[int, _Fields]:
        """The fields of each part that has rows, by its number."""
        return {number: _fields(self._root, number, rows) for number, rows in self._manifest.parts if rows}

    @cached_property
    def _names(self) -> dict[str, str]:
        """Name in lower case → name as written."""
        names = {name: name for name in COLUMNS}
        for fields in self._fields.values():
            for lower, field in fields.items():
                names.setdefault(lower, field.name)
        return {**names, _DUPLICATE_OF: _DUPLICATE_OF} if self._duplicates is not None else names

    @cached_property
    def _types(self) -> dict[str, pa.DataType]:
        found: dict[str, list[_Field]] = {name: [] for name in self._names}
        for fields in self._fields.values():
            for name, field in fields.items():
                if field.type != pa.null():
                    found[name].append(field)
        types = {name: COLUMNS.get(name) or _type_of(fields) for name, fields in found.items()}
        return {**types, _DUPLICATE_OF: pa.int64()} if self._duplicates is not None else types


def _fields(root: Path, number: int, count: int) -> _Fields:
    path = metadata_path(root, number)
    check_file(root, number, path)
    try:
        footer = pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        refuse_unless_damaged(error, path)
        raise InputError(f"{path} is damaged ({_line(error)}); {REMEDY}") from error
    if footer.num_rows != count:
        raise InputError(f"{path} holds {footer.num_rows} rows, {count} were written; {REMEDY}")
    fields: _Fields = {}
    for i, field in enumerate(footer.schema.to_arrow_schema()):
        kind = pa.null() if _is_empty(footer, i, field) else field.type
        if pa.types.is_list(kind):  # files call the items `element`, which makes another type
            kind = pa.list_(kind.value_type)
        is_exact = kind != pa.int64() or _are_exact(footer, i)
        fields[field.name.lower()] = _Field(name=field.name, type=kind, is_exact=is_exact)
    return fields


def _is_empty(footer: pq.FileMetaData, position: int, field: pa.Field) -> bool:
    """Whether a field has no value in a part: then it was written as text, whatever its type in other parts."""
    if field.name in COLUMNS or field.type != pa.string():
        return False
    return all(has_no_value(footer.row_group(i), position) for i in range(footer.num_row_groups))


def _are_exact(footer: pq.FileMetaData, position: int) -> bool:
    """Whether all integers of a field are exactly float64; only those up to 2⁵³ are known to be."""
    for i in range(footer.num_row_groups):
        group = footer.row_group(i)
        statistics = group.column(position).statistics
        if statistics is None or not statistics.has_null_count:
            return False
        if statistics.null_count == group.num_rows:
            continue
        if not statistics.has_min_max or max(-statistics.min, statistics.max) > EXACT_INTEGER:
            return False
    return True


def _type_of(fields: Sequence[_Field]) -> pa.DataType:
    """The type of a column over all parts; null, which SQL compares with any type, where no part has a value."""
    if not fields:
        return pa.null()
    kind = common_type((field.type for field in fields), ints_are_floats=all(field.is_exact for field in fields))
    return pa.list_(pa.string()) if kind == pa.list_(pa.null()) else kind


def _as_type(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column of a part in the type that it has over all parts."""
    if kind == pa.null():  # no part has a value
        return pa.chunked_array([pa.nulls(len(column))])
    if column.type == pa.null() or kind == column.type:
        return column.cast(kind)
    return as_texts(column) if kind == pa.string() else column.cast(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _missing(name: str) -> str:
    raise KeyError(name)


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]

"""The metadata of all parts as columns of one type each, read when they are asked for and kept in memory.

Parts may differ in their fields, and in a field's type: a column has the narrowest type that holds all of its values.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.conditions import unknown_column
from ...datasets.errors import InputError
from ...datasets.names import ALIASES
from .duplicates import Duplicates
from .layout import metadata_path
from .manifest import Manifest
from .parts import REMEDY
from .tables import COLUMNS

# What columns may take in memory: those used last are kept. A number takes 8 bytes a row.
MEMORY_BYTES = 1 << 30
# About so many rows are read, kept and given out together.
_BLOCK = 1_000_000
_DUPLICATE_OF = "duplicate_of"
_NUMBERS = (pa.int64(), pa.uint64(), pa.float64())
# The columns of a part, in lower case: their names there and their types; null for one that has no value.
_Fields = dict[str, tuple[str, pa.DataType]]


class Columns:
    """Threads may share it. Names are in lower case: like SQL it makes no difference."""

    def __init__(
        self, root: Path, manifest: Manifest, duplicates: Duplicates | None = None, *, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        """`duplicates`, where they are known, are one more column, `duplicate_of`."""
        self._root = root
        self._manifest = manifest
        self._duplicates = duplicates
        self._memory_bytes = memory_bytes
        self._kept: OrderedDict[tuple[int, str], pa.ChunkedArray] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    @property
    def num_rows(self) -> int:
        """Rows of all parts."""
        return self._manifest.num_rows

    @property
    def names(self) -> list[str]:
        """All columns as they are written, and the names that tables of LAION's kind have for them."""
        aliases = [alias for group in ALIASES.values() for alias in group if alias not in self._names]
        return [*self._names.values(), *(alias for alias in aliases if self._own(alias))]

    def spellings(self, name: str) -> list[str]:
        """How a column is written in the parts that have it; by its own name, or one that other tables have for it.

        Raises:
            InputError: if there is no such column.
        """
        own = self._own(name)
        if own is None:
            unknown = unknown_column(name, self.names, owner="the gallery's rows")
            raise InputError(f"the search names {unknown}")
        written = {fields[own][0]: None for fields in self._fields.values() if own in fields}
        return list(written) or [self._names[own]]

    def blocks(self, names: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """Some columns by runs of rows: the first row of each, and a table with the columns under the names asked for.

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

    def _own(self, name: str) -> str | None:
        """The column that a name means: its own, or one that other tables call so."""
        name = name.lower()
        if name in self._types:
            return name
        for canonical, group in ALIASES.items():
            if name in group:
                kinds = (pa.string(),) if canonical in ("url", "caption") else _NUMBERS
                # LAION's NSFW, which says UNLIKELY or UNSURE, is no punsafe.
                return next((alias for alias in group if self._types.get(alias) in kinds), None)
        return None

    def _column(self, first: int, parts: Sequence[tuple[int, int]], name: str) -> pa.ChunkedArray:
        with self._lock:
            if (kept := self._kept.get((first, name))) is not None:
                self._kept.move_to_end((first, name))
                return kept
        column = self._read(first, parts, name)
        with self._lock:
            if (first, name) not in self._kept:
                self._kept[first, name] = column
                self._num_bytes += column.nbytes
            while self._num_bytes > self._memory_bytes and len(self._kept) > 1:
                self._num_bytes -= self._kept.popitem(last=False)[1].nbytes
        return column

    def _read(self, first: int, parts: Sequence[tuple[int, int]], name: str) -> pa.ChunkedArray:
        if name == _DUPLICATE_OF and self._duplicates is not None:
            return pa.chunked_array([self._duplicates.column(first, sum(count for _, count in parts))])
        kind = self._types[name]
        chunks = [chunk for number, count in parts for chunk in self._of_part(number, count, name, kind)]
        return pa.chunked_array(chunks, kind)

    def _of_part(self, number: int, count: int, name: str, kind: pa.DataType) -> Iterable[pa.Array]:
        own, own_kind = self._fields.get(number, {}).get(name, ("", pa.null()))
        if own_kind == pa.null():
            return [pa.nulls(count, kind)]
        path = metadata_path(self._root, number)
        try:
            with pq.ParquetFile(path) as file:
                column = file.read(columns=[own])[own]
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path} is damaged ({_line(error)}); {REMEDY}") from error
        return column.cast(kind).chunks

    @cached_property
    def _fields(self) -> dict[int, _Fields]:
        """The fields of each part that has rows, by its number."""
        return {
            number: _fields(metadata_path(self._root, number), rows) for number, rows in self._manifest.parts if rows
        }

    @cached_property
    def _names(self) -> dict[str, str]:
        """In lower case → as they are written."""
        names = {name: name for name in COLUMNS}
        for fields in self._fields.values():
            for lower, (name, _) in fields.items():
                names.setdefault(lower, name)
        return {**names, _DUPLICATE_OF: _DUPLICATE_OF} if self._duplicates is not None else names

    @cached_property
    def _types(self) -> dict[str, pa.DataType]:
        kinds: dict[str, set[pa.DataType]] = {name: set() for name in self._names}
        for fields in self._fields.values():
            for name, (_, kind) in fields.items():
                kinds[name].add(kind)
        return {name: COLUMNS.get(name) or _narrowest(found) for name, found in kinds.items()}


def _fields(path: Path, count: int) -> _Fields:
    try:
        footer = pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} is damaged ({_line(error)}); {REMEDY}") from error
    if footer.num_rows != count:
        raise InputError(f"{path} holds {footer.num_rows} rows, {count} were written; {REMEDY}")
    fields = enumerate(footer.schema.to_arrow_schema())
    return {
        field.name.lower(): (field.name, pa.null() if _is_empty(footer, i, field) else field.type)
        for i, field in fields
    }


def _is_empty(footer: pq.FileMetaData, position: int, field: pa.Field) -> bool:
    """Whether a field of samples has no value in a part: it was written as text then, whatever it is in the others."""
    if field.name in COLUMNS or field.type != pa.string():
        return False
    for i in range(footer.num_row_groups):
        statistics = footer.row_group(i).column(position).statistics
        if statistics is None or statistics.null_count < footer.row_group(i).num_rows:
            return False
    return True


def _narrowest(kinds: set[pa.DataType]) -> pa.DataType:
    """The narrowest type that holds the values of all parts, as within a part."""
    kinds = kinds - {pa.null()}
    if len(kinds) == 1:
        return next(iter(kinds))
    return pa.float64() if kinds == {pa.int64(), pa.float64()} else pa.string()


def _missing(name: str) -> str:
    raise KeyError(name)


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]

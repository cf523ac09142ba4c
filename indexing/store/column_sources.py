"""The files that hold columns of metadata: those of the row store, and of the parts that it does not have."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeAlias

import pyarrow as pa

from ...datasets.errors import InputError
from .fields import Field, fields_of, fields_of_part
from .layout import metadata_path
from .manifest import Manifest
from .metadata_file import opened_metadata
from .rows.reading import OpenSegment, RowStore
from .rows.segments import columns_name, remedy, texts_name
from .rows.text_file import TextFile, opened_texts
from .tables import as_texts

log = logging.getLogger(__name__)

# Rows that are read together, where they are not kept.
_BATCH = 1 << 16
# Larger dictionaries are not kept as such, because each batch of rows that a process of its own is sent has all of one.
_DICTIONARY_BYTES = 1 << 20

# The columns of a source by name in lower case: as each of its parts writes them.
Fields: TypeAlias = "Mapping[str, Sequence[Field]]"
Kinds: TypeAlias = "Mapping[str, pa.DataType]"  # of all columns of a gallery, by name in lower case


class ColumnSource(Protocol):
    """Columns of consecutive rows."""

    @property
    def num_rows(self) -> int:
        """Rows that it holds, at least one."""
        ...

    @property
    def num_pieces(self) -> int:
        """Pieces that `piece` can read alone."""
        ...

    @property
    def fields(self) -> Fields:
        """Its columns."""
        ...

    def column(self, name: str, kind: pa.DataType) -> list[pa.Array]:
        """A column, by its name in lower case, in a type that holds its values; missing values where it has none.

        A column of text may be dictionaries of text.
        """
        ...

    def piece(self, number: int, kinds: Kinds) -> Iterator[pa.Table]:
        """The columns of some of its rows, by name in lower case, a bounded number of rows at a time."""
        ...

    def first_row(self, piece: int) -> int:
        """The first row of a piece, counted from the first row of the source."""
        ...


def column_sources(root: Path, manifest: Manifest, store: RowStore) -> list[ColumnSource]:
    """The files that hold the columns of a gallery's rows together, in the order of the rows.

    Raises:
        InputError: if a record of a part is damaged.
    """
    sources: list[ColumnSource] = []
    parts = iter(manifest.parts)
    for position, listed in enumerate(store.segments):
        own = [PartColumns(root, number, rows) for number, rows in itertools.islice(parts, listed.num_parts) if rows]
        laid_out = _laid_out(root, store.segment(position), own) if own else None
        sources.extend(own if laid_out is None else [laid_out])
    return [*sources, *(PartColumns(root, number, rows) for number, rows in parts if rows)]


def _laid_out(root: Path, segment: OpenSegment | None, parts: Sequence[PartColumns]) -> SegmentColumns | None:
    """The columns of a segment; None where they must be read from its parts."""
    if segment is None or not segment.is_all_current:
        return None
    try:
        return SegmentColumns(root, segment, parts)
    except FileNotFoundError:
        return None
    except InputError as error:
        log.warning("%s; until then metadata is read from the parts", error)
        return None


class PartColumns:
    """The columns of one part."""

    def __init__(self, root: Path, number: int, num_rows: int) -> None:
        self.num_rows = num_rows
        self.num_pieces = 1
        self._root = root
        self._number = number

    @property
    def fields(self) -> Fields:
        """See `ColumnSource`."""
        return self._as_written

    @cached_property
    def _as_written(self) -> Fields:
        return {name: (field,) for name, field in self._fields.items()}

    @cached_property
    def _fields(self) -> dict[str, Field]:
        return fields_of_part(self._root, self._number, self.num_rows)

    def column(self, name: str, kind: pa.DataType) -> list[pa.Array]:
        """See `ColumnSource`."""
        field = self._fields.get(name)
        if field is None or field.type == pa.null():
            return [pa.nulls(self.num_rows, kind)]
        with opened_metadata(metadata_path(self._root, self._number)) as file:
            column = file.read(columns=[field.name])[field.name]
        return _as_type(column, kind).chunks

    def piece(self, number: int, kinds: Kinds) -> Iterator[pa.Table]:
        """See `ColumnSource`."""
        assert number == 0, "a part is one piece"
        with opened_metadata(metadata_path(self._root, self._number)) as file:
            for batch in file.iter_batches(_BATCH, use_threads=False):  # it runs beside searches
                table = pa.table(batch)
                yield pa.table(
                    {lower: _as_type(table[field.name], kinds[lower]) for lower, field in self._fields.items()}
                )

    def first_row(self, piece: int) -> int:
        """See `ColumnSource`."""
        return piece


class SegmentColumns:
    """The columns of a segment of the row store; those that are of several types in its parts come from the parts.

    So do all columns that cannot be read: a job may replace a segment while a reader still has the older list.
    """

    def __init__(self, root: Path, segment: OpenSegment, parts: Sequence[PartColumns]) -> None:
        """Reads the end of the file of all columns but texts.

        Raises:
            FileNotFoundError: if a job has replaced the segment.
            InputError: if the file is damaged.
        """
        self.num_rows = segment.segment.num_rows
        self._root = root
        self._path = root / columns_name(segment.segment.number)
        self._texts_path = root / texts_name(segment.segment.number)
        self._remedy = remedy(root, segment.segment.number)
        self._record = segment.record
        self._parts = parts
        with opened_metadata(self._path, self._remedy) as file:
            self._footer = file.metadata
        if self._footer.num_rows != self.num_rows:
            raise InputError(
                f"{self._path} holds {self._footer.num_rows} rows instead of {self.num_rows}; {self._remedy}"
            )
        counts = (self._footer.row_group(i).num_rows for i in range(self._footer.num_row_groups))
        self._starts = list(itertools.accumulate(counts, initial=0))

    @property
    def num_pieces(self) -> int:
        """See `ColumnSource`."""
        return len(self._starts) - 1

    @property
    def fields(self) -> Fields:
        """See `ColumnSource`."""
        return self._fields

    @cached_property
    def _fields(self) -> Fields:
        spellings: dict[str, dict[str, None]] = {}
        for schema in self._record.schemas:
            for name, _ in schema:
                spellings.setdefault(name.lower(), {})[name] = None
        own = fields_of(self._footer)
        own.update((name, Field(name=name, type=pa.string(), is_exact=True)) for name in self._record.texts)
        return {
            lower: [replace(own[lower], name=name) for name in names]
            if lower in own
            else [field for part in self._parts for field in part.fields.get(lower, ())]
            for lower, names in spellings.items()
        }

    def column(self, name: str, kind: pa.DataType) -> list[pa.Array]:
        """See `ColumnSource`."""
        if all(field.type == pa.null() for field in self.fields.get(name, ())):
            return [pa.nulls(self.num_rows, kind)]
        if name not in self._record.mixed:
            try:
                return self._read(name, kind)
            except (FileNotFoundError, InputError) as error:
                self._warn(error)
        return [chunk for part in self._parts for chunk in part.column(name, kind)]

    def piece(self, number: int, kinds: Kinds) -> Iterator[pa.Table]:
        """See `ColumnSource`."""
        low, high = self._starts[number], self._starts[number + 1]
        columns: dict[str, pa.ChunkedArray] = {}
        try:
            with opened_metadata(self._path, self._remedy, footer=self._footer) as file:
                table = file.read_row_group(number, use_threads=False)  # it runs beside searches
            columns = {name: _as_type(table[name], kinds[name]) for name in table.column_names}
            columns |= {name: _as_type(text, kinds[name]) for name, text in self._texts(number, high - low).items()}
        except (FileNotFoundError, InputError) as error:
            self._warn(error)
        for name in self.fields:
            if name not in columns:
                whole = pa.chunked_array(self.column(name, kinds[name]), kinds[name])
                columns[name] = whole.slice(low, high - low)
        yield pa.table(columns)

    def first_row(self, piece: int) -> int:
        """See `ColumnSource`."""
        return self._starts[piece]

    def _read(self, name: str, kind: pa.DataType) -> list[pa.Array]:
        """A column of the files. Row groups are read one by one: together they would be copied into one array."""
        if name in self._record.texts:
            with self._opened_texts() as file:
                return _as_type(file.column(name, range(file.num_batches), self.num_rows), kind).chunks
        with opened_metadata(self._path, self._remedy, footer=self._footer) as file:
            groups = (file.read_row_group(i, [name], use_threads=False)[name] for i in range(self.num_pieces))
            return [chunk for group in groups for chunk in _with_dictionaries(group, kind).chunks]

    def _texts(self, piece: int, num_rows: int) -> dict[str, pa.ChunkedArray]:
        """The texts of a piece; none if a piece is several record batches, because it has more than 2 GB of them."""
        if not self._record.texts:
            return {}
        with self._opened_texts() as file:
            is_one = file.num_batches == self.num_pieces
            return {name: file.column(name, [piece], num_rows) for name in self._record.texts if is_one}

    def _opened_texts(self) -> AbstractContextManager[TextFile]:
        name = self._texts_path.relative_to(self._root).as_posix()
        return opened_texts(self._texts_path, self._record.files[name]["bytes"], self._remedy)

    def _warn(self, error: Exception) -> None:
        if isinstance(error, InputError):  # else it was replaced, which is no news
            log.warning("%s; until then this is read from the parts", error)


def _with_dictionaries(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column of a source, still as dictionaries where these are small: each piece of a table has its own."""
    is_kept = pa.types.is_dictionary(column.type) and column.type.value_type == kind
    if is_kept and all(chunk.dictionary.nbytes <= _DICTIONARY_BYTES for chunk in column.chunks):
        return column
    return _as_type(column, kind)


def _as_type(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column of a source in the type that it has over the whole gallery."""
    if kind == pa.null():  # no part has a value
        return pa.chunked_array([pa.nulls(len(column))])
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.type == pa.null() or kind == column.type:
        return column.cast(kind)
    return as_texts(column) if kind == pa.string() else column.cast(kind)

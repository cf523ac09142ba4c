"""The metadata of all parts as columns, each of one type, read when they are needed and kept in memory.

Parts may differ in their fields, and in the type of a field: a column has one type that holds all its values as they
are, or it is text; see `tables.common_type`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate, groupby
from operator import attrgetter

import pyarrow as pa

from ...datasets.conditions import unknown_column
from ...datasets.errors import InputError
from ...datasets.names import IN_CONDITIONS, NAMES, TEXT_MEANINGS, meaning_in_condition
from ...datasets.recent import Recent
from .column_sources import ColumnSource, column_sources
from .duplicates import Duplicates
from .fields import Field
from .rows.reading import RowStore
from .snapshot import Snapshot
from .tables import COLUMNS, common_type

# Memory for columns; those used last are kept. A number takes 8 bytes per row.
MEMORY_BYTES = 1 << 30
# About this many rows are read, kept and returned together.
_BLOCK = 1_000_000
_DUPLICATE_OF = "duplicate_of"


class Columns:
    """The columns of one snapshot, by name without regard to case, as in SQL. Threads may share it."""

    def __init__(
        self,
        snapshot: Snapshot,
        duplicates: Duplicates | None = None,
        store: RowStore | None = None,
        *,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        """Reads nothing yet.

        Args:
            snapshot: the gallery.
            duplicates: its near-duplicates, where they are known: one more column, `duplicate_of`.
            store: its row store; by default opened now.
            memory_bytes: memory for columns; those used last are kept.
        """
        self._root = snapshot.root
        self._manifest = snapshot.manifest
        self._store = store or RowStore(snapshot)
        self._duplicates = duplicates
        self._kept: Recent[tuple[int, str], pa.ChunkedArray] = Recent(memory_bytes, attrgetter("nbytes"))

    @property
    def num_rows(self) -> int:
        """Rows of all parts, deleted ones included."""
        return self._manifest.num_rows

    @property
    def num_pieces(self) -> int:
        """Pieces that `batches` reads: parts, and some ten thousand rows of the row store."""
        return len(self._pieces)

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
        written = {field.name: None for source in self._sources for field in source.fields.get(own, ())}
        return list(written) or [self._names[own]]

    @property
    def num_blocks(self) -> int:
        """Blocks of about a million rows."""
        return len(self._blocks)

    def block(self, number: int, names: Sequence[str]) -> tuple[int, pa.Table]:
        """Some columns of a block of rows. A column of text may be dictionaries of text.

        Args:
            number: the block, below `num_blocks`.
            names: the columns.

        Returns:
            The first row of the block, and a table with the given names.

        Raises:
            KeyError: if there is no such column.
            InputError: if metadata is damaged.
        """
        first, sources = self._blocks[number]
        own = {name: self._own(name) or _missing(name) for name in names}
        columns = {name: self._column(first, sources, column) for name, column in own.items()}
        # A table without columns would have no rows either.
        columns["_diantu"] = pa.chunked_array([pa.nulls(sum(source.num_rows for source in sources))])
        return first, pa.table(columns)

    def blocks(self, names: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """Some columns of all blocks, in the order of the rows; see `block`."""
        return (self.block(number, names) for number in range(self.num_blocks))

    @property
    def types(self) -> dict[str, pa.DataType]:
        """The type of each column, by its name as written."""
        return {self._names[lower]: kind for lower, kind in self._types.items()}

    def batches(self, pieces: Iterable[int]) -> Iterator[tuple[int, pa.Table]]:
        """All columns of some pieces, a bounded number of rows at a time, which are not kept in memory.

        Args:
            pieces: their numbers, below `num_pieces`.

        Yields:
            The first row of each batch, and a table of the columns that are known there.

        Raises:
            InputError: if metadata is damaged.
        """
        kinds = self._types
        for position, piece in (self._pieces[i] for i in pieces):
            source = self._sources[position]
            first = self._firsts[position] + source.first_row(piece)
            for table in source.piece(piece, kinds):
                table = table.rename_columns([self._names[name] for name in table.column_names])
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

    def _column(self, first: int, sources: Sequence[ColumnSource], name: str) -> pa.ChunkedArray:
        if (kept := self._kept.get((first, name))) is not None:
            return kept
        column = self._read(first, sources, name)
        self._kept.put((first, name), column)
        return column

    def _read(self, first: int, sources: Sequence[ColumnSource], name: str) -> pa.ChunkedArray:
        if name == _DUPLICATE_OF and self._duplicates is not None:
            return pa.chunked_array([self._duplicates.column(first, sum(source.num_rows for source in sources))])
        kind = self._types[name]
        chunks = [chunk for source in sources for chunk in source.column(name, kind)]
        if len({chunk.type for chunk in chunks}) > 1:  # some are dictionaries
            chunks = [chunk.cast(kind) for chunk in chunks]
        return pa.chunked_array(chunks)

    @cached_property
    def _sources(self) -> list[ColumnSource]:
        return column_sources(self._root, self._manifest, self._store)

    @cached_property
    def _firsts(self) -> list[int]:
        """The first row of each source, and the number of all rows."""
        return list(accumulate((source.num_rows for source in self._sources), initial=0))

    @cached_property
    def _blocks(self) -> list[tuple[int, tuple[ColumnSource, ...]]]:
        """The first row of each block, and the sources that hold its rows."""
        blocks = []
        with_firsts = zip(self._firsts, self._sources, strict=False)
        for _, block in groupby(with_firsts, key=lambda each: each[0] // _BLOCK):
            firsts, sources = zip(*block, strict=True)
            blocks.append((firsts[0], sources))
        return blocks

    @cached_property
    def _pieces(self) -> list[tuple[int, int]]:
        """All pieces: the position of the source, and the piece's own."""
        return [(i, piece) for i, source in enumerate(self._sources) for piece in range(source.num_pieces)]

    @cached_property
    def _names(self) -> dict[str, str]:
        """Name in lower case → name as written."""
        names = {name: name for name in COLUMNS}
        for source in self._sources:
            for lower, fields in source.fields.items():
                names.setdefault(lower, fields[0].name)
        return {**names, _DUPLICATE_OF: _DUPLICATE_OF} if self._duplicates is not None else names

    @cached_property
    def _types(self) -> dict[str, pa.DataType]:
        found: dict[str, list[Field]] = {name: [] for name in self._names}
        for source in self._sources:
            for name, fields in source.fields.items():
                found[name] += [field for field in fields if field.type != pa.null()]
        types = {name: COLUMNS.get(name) or _type_of(fields) for name, fields in found.items()}
        return {**types, _DUPLICATE_OF: pa.int64()} if self._duplicates is not None else types


def _type_of(fields: Sequence[Field]) -> pa.DataType:
    """The type of a column over all parts; null, which SQL compares with any type, where no part has a value."""
    if not fields:
        return pa.null()
    kind = common_type((field.type for field in fields), ints_are_floats=all(field.is_exact for field in fields))
    return pa.list_(pa.string()) if kind == pa.list_(pa.null()) else kind


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _missing(name: str) -> str:
    raise KeyError(name)

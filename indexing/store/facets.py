"""What the columns of a gallery hold, for filters that people click: ranges, values with their counts, licences.

One pass over all metadata, some rows at a time. Deleted rows do not count, and NaN counts as missing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute

from ...datasets.names import NAMES
from ...datasets.values import jsonable
from .columns import Columns
from .tables import as_texts

pc: Any = pyarrow.compute  # makes its functions when it is imported, so that type checkers do not know them

Kind: TypeAlias = Literal["range", "category", "flag", "color", "list", "text", "other"]

SECONDS = 60.0
# A column of texts is a category if its values repeat: there are few, or each stands for two rows or more on average.
_FEW, _MOST_CATEGORIES = 20, 1000
_LONGEST_CATEGORY = 200  # characters
_MOST_VALUES = 200  # that are listed
_COLORS = frozenset({"dominant_color"})
# Numbers that no one filters by.
_OTHER = frozenset({"offset", "length", "phash", "duplicate_of"})
# Texts that say where a row is, and texts that differ from row to row: counting their values is a waste.
_TEXTS = frozenset({"key", "shard", "image_path", "caption", "url"})
_Is: TypeAlias = Callable[[pa.DataType], bool]
_SQL_TYPES: tuple[tuple[_Is, str], ...] = (
    (pa.types.is_boolean, "BOOLEAN"), (pa.types.is_uint64, "UBIGINT"), (pa.types.is_integer, "BIGINT"),
    (pa.types.is_floating, "DOUBLE"), (pa.types.is_date, "DATE"), (pa.types.is_time, "TIME"),
    (pa.types.is_duration, "INTERVAL"),
)  # fmt: skip
_IN_RANGES: tuple[_Is, ...] = (
    pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_date, pa.types.is_timestamp,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """What one column holds.

    Attributes:
        name: the column as it is written.
        type: as SQL calls it, such as `BIGINT`, `DOUBLE`, `VARCHAR` or `VARCHAR[]`.
        kind: `range` (numbers, dates and timestamps), `category` (texts that repeat), `flag`, `color` (names of
            `datasets.features.COLOR_NAMES`), `list`, `text` (other texts), `other` (numbers that no one filters by,
            times of day, durations).
        missing: rows without a value.
        least: the smallest value, for `range`; None where there is no value.
        most: the largest value.
        values: values and how many rows have each, the most frequent first, at most 200: for `category`, `flag` and
            `color`.
    """

    name: str
    type: str
    kind: Kind
    missing: int
    least: Any = None
    most: Any = None
    values: tuple[tuple[Any, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The facet as JSON values: dates and timestamps in ISO 8601."""
        facet: dict[str, Any] = {"name": self.name, "type": self.type, "kind": self.kind, "missing": self.missing}
        if self.kind == "range":
            facet |= {"min": jsonable(self.least), "max": jsonable(self.most)}
        if self.kind == "flag":
            counts = dict(self.values)
            facet |= {"true": counts.get(True, 0), "false": counts.get(False, 0)}
        if self.kind in ("category", "color"):
            facet["values"] = [{"value": value, "count": count} for value, count in self.values]
        return facet


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """What the columns of a gallery hold.

    Attributes:
        columns: in the order of the gallery's columns.
        licences: licences and how many rows have each, the most frequent first; None stands for rows without one. Empty
            where no column names a licence.
        num_rows: rows that were read: all that are not deleted, unless the time was over.
    """

    columns: tuple[Facet, ...]
    licences: tuple[tuple[str | None, int], ...]
    num_rows: int


def find_facets(columns: Columns, deleted: np.ndarray, *, seconds: float = SECONDS) -> Facets:
    """Reads all metadata and says what the columns hold.

    Args:
        columns: of the gallery.
        deleted: rows that do not count, ascending.
        seconds: when this time is over, the rows that were read by then are described. Parts are read in a random
            order, so that these are not the oldest ones.

    Raises:
        InputError: if metadata is damaged.
    """
    deadline = time.monotonic() + seconds
    types = columns.types
    tallies = {name: _Tally(_counter(name, kind)) for name, kind in types.items()}
    licences = [name for name in types if name.lower() in NAMES["licence"]]
    licences.sort(key=lambda name: NAMES["licence"].index(name.lower()))
    of_licences, num_rows = Counter[Any](), 0
    for first, table in columns.batches(np.random.default_rng(0).permutation(columns.num_pieces).tolist()):
        alive = _without(table, first, deleted)
        num_rows += len(alive)
        for name in alive.column_names:
            tallies[name].add(alive[name])
        if here := [as_texts(alive[name]) for name in licences if name in alive.column_names]:
            _count(of_licences, pc.coalesce(*here))
        if time.monotonic() > deadline:
            break
    missing = num_rows - sum(of_licences.values())
    return Facets(
        columns=tuple(_facet(name, kind, tallies[name], num_rows) for name, kind in types.items()),
        licences=tuple(_most_common(of_licences + Counter({None: missing}))) if of_licences else (),
        num_rows=num_rows,
    )


def sql_type(kind: pa.DataType) -> str:
    """The type of a column as SQL calls it."""
    if pa.types.is_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP" if kind.tz is None else "TIMESTAMP WITH TIME ZONE"
    return next((name for is_type, name in _SQL_TYPES if is_type(kind)), "VARCHAR")


@dataclass(slots=True)
class _Tally:
    """What was counted of a column until now."""

    counter: Callable[[_Tally, pa.ChunkedArray], None] | None
    present: int = 0
    bounds: list[Any] = field(default_factory=list)
    counts: Counter[Any] | None = field(default_factory=Counter)  # None if there are too many values

    def add(self, column: pa.ChunkedArray) -> None:
        if pa.types.is_floating(column.type):
            column = column.filter(pc.is_finite(column))
        self.present += len(column) - column.null_count
        if self.counter is not None and column.null_count < len(column):
            self.counter(self, column)

    def widen(self, column: pa.ChunkedArray) -> None:
        """Counts values that have an order."""
        ends = pc.min_max(column)
        found = [*self.bounds, ends["min"].as_py(), ends["max"].as_py()]
        self.bounds = [min(found), max(found)]

    def count(self, column: pa.ChunkedArray) -> None:
        """Counts values that may repeat."""
        if self.counts is None:
            return
        if pa.types.is_string(column.type) and pc.max(pc.utf8_length(column)).as_py() > _LONGEST_CATEGORY:
            self.counts = None
            return
        _count(self.counts, column)
        if len(self.counts) > _MOST_CATEGORIES:
            self.counts = None


def _counter(name: str, kind: pa.DataType) -> Callable[[_Tally, pa.ChunkedArray], None] | None:
    if name in _OTHER or name in _TEXTS:
        return None
    if pa.types.is_string(kind) or pa.types.is_boolean(kind):
        return _Tally.count
    return _Tally.widen if any(is_type(kind) for is_type in _IN_RANGES) else None


def _count(counts: Counter[Any], column: pa.ChunkedArray) -> None:
    for each in pc.value_counts(column.drop_null()).to_pylist():
        counts[each["values"]] += each["counts"]


def _without(table: pa.Table, first: int, deleted: np.ndarray) -> pa.Table:
    """The rows of a table that are not deleted."""
    low, high = np.searchsorted(deleted, [first, first + len(table)])
    if low == high:
        return table
    is_alive_N = np.ones(len(table), bool)
    is_alive_N[deleted[low:high] - first] = False
    return table.filter(pa.array(is_alive_N))


def _facet(name: str, kind: pa.DataType, tally: _Tally, num_rows: int) -> Facet:
    found = _kind(name, kind, tally)
    is_counted = found in ("category", "color", "flag") and tally.counts is not None
    least, most = tally.bounds or (None, None)
    return Facet(
        name=name,
        type=sql_type(kind),
        kind=found,
        missing=num_rows - tally.present,
        least=least,
        most=most,
        values=tuple(_most_common(tally.counts)[:_MOST_VALUES]) if is_counted and tally.counts else (),
    )


def _kind(name: str, kind: pa.DataType, tally: _Tally) -> Kind:
    if name in _OTHER:
        return "other"
    if pa.types.is_list(kind):
        return "list"
    if pa.types.is_boolean(kind):
        return "flag"
    if name in _COLORS:
        return "color"
    if not pa.types.is_string(kind) and not pa.types.is_null(kind):
        return "range" if any(is_type(kind) for is_type in _IN_RANGES) else "other"
    num_values = len(tally.counts) if tally.counts is not None and name not in _TEXTS else 0
    repeats = 0 < num_values < tally.present and num_values <= max(_FEW, tally.present // 2)
    return "category" if repeats or (num_values and name.lower() in NAMES["licence"]) else "text"


def _most_common(counts: Mapping[Any, int]) -> list[tuple[Any, int]]:
    """Values with their counts, the most frequent first; equal counts in the order of the values, None last."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0] is None, str(item[0])))

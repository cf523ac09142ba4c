"""Metadata, failures and vectors as file contents: records → parquet, arrays → npy.

Shapes: N rows, D dimension.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.text import valid_text
from ...datasets.types import Failure
from ...datasets.values import as_text, plain_column

Record = Mapping[str, Any]  # one row of metadata

# Reading one row costs one row group: small enough for a hit's metadata, large enough to compress.
_ROW_GROUP = 512

# The columns that every part has, in this order, before the fields of the samples.
COLUMNS = {
    "key": pa.string(),
    "shard": pa.string(),
    "offset": pa.int64(),
    "length": pa.int64(),
    "image_path": pa.string(),
    "caption": pa.string(),
    "url": pa.string(),
    "width": pa.int64(),
    "height": pa.int64(),
    # What the image looks like: see datasets.features.
    "aspect": pa.float64(),
    "brightness": pa.float64(),
    "contrast": pa.float64(),
    "colorfulness": pa.float64(),
    "dominant_color": pa.string(),
    "dominant_hue": pa.float64(),
    "complexity": pa.float64(),
    "phash": pa.uint64(),
}
# Python's type of a value → the type of a column that has only such values.
_TYPES = {
    bool: pa.bool_(), float: pa.float64(), str: pa.string(), date: pa.date32(), time: pa.time64("us"),
    timedelta: pa.duration("us"),
}  # fmt: skip
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1
# Up to here every integer is a float64.
EXACT_INTEGER = 1 << 53
_INT_DIGITS = 19
_DECIMAL_DIGITS = 38  # what decimal128 and SQL have
_FAILURE_COLUMNS = pa.schema([(name, pa.string()) for name in ("key", "shard", "reason", "detail")])


def all_captions(record: Record) -> list[str]:
    """All captions of a row: its list `captions`, where it has several, else its `caption`; none if it has none."""
    captions = record.get("captions")
    if isinstance(captions, list) and all(isinstance(text, str) for text in captions):
        return captions
    return [record["caption"]] if record["caption"] else []


def metadata_table(records: Sequence[Record]) -> pa.Table:
    """Records as a table: the fixed columns, then every other field in order of first appearance.

    Names that differ in case only are one column, under the spelling that comes first: as in SQL. See `array_of` for
    the types, which may differ from sample to sample.
    """
    spellings = {name.lower(): name for name in COLUMNS}
    for record in records:
        for name in record:
            spellings.setdefault(name.lower(), name)
    by_lower = [{name.lower(): value for name, value in record.items()} for record in records]
    arrays = []
    for lower, name in spellings.items():
        values = [record.get(lower) for record in by_lower]
        arrays.append(array_of(values) if name not in COLUMNS else _fixed(values, COLUMNS[name]))
    return pa.Table.from_arrays(arrays, names=[valid_text(name) for name in spellings.values()])


def failure_table(failures: Sequence[Failure]) -> pa.Table:
    """Failures as a table: key, shard, reason, detail."""
    rows = [{**asdict(failure), "reason": failure.reason.value} for failure in failures]
    return pa.Table.from_pylist(
        [{name: as_text(value) for name, value in row.items()} for row in rows], _FAILURE_COLUMNS
    )


def npy_bytes(emb_ND: np.ndarray) -> bytes:
    """Vectors as the contents of a `.npy` file, float16."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(emb_ND, np.float16), allow_pickle=False)
    return buffer.getvalue()


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as the contents of a parquet file."""
    buffer = pa.BufferOutputStream()
    # Few values repeat within a row group, and zstd finds those that do. Dictionaries would make files larger and
    # slower to read.
    pq.write_table(
        table, buffer, compression="zstd", row_group_size=_ROW_GROUP, use_dictionary=False, write_page_checksum=True
    )
    return buffer.getvalue().to_pybytes()


def array_of(values: Sequence[Any]) -> pa.Array:
    """Values of one column, with the type that holds all of them as they are, else as text.

    bool, int64, float64, decimal, date, timestamp (also in UTC), time, duration, and lists of one of these. Integers
    beside fractions are float64 if each is exactly a float64; otherwise, and where kinds are mixed or an integer has
    more than 64 bits, the column is text: see `datasets.values.as_text`. No value loses digits.
    """
    lists = [value for value in values if isinstance(value, list)]
    if lists and len(lists) == sum(value is not None for value in values):
        items = [item for values in lists for item in values]
        kind = _kind(items) if any(item is not None for item in items) else pa.null()
        return pa.array([None if value is None else _prepared(value, kind) for value in values], pa.list_(kind))
    kind = pa.string() if lists else _kind(values)
    return pa.array(_prepared(values, kind), kind)


def common_type(types: Iterable[pa.DataType], *, ints_are_floats: bool) -> pa.DataType:
    """The type that holds the values of columns of these types as they are, else text; the types of `array_of`.

    Args:
        types: of the columns that have values.
        ints_are_floats: whether each integer in them is exactly a float64.
    """
    found = set(types)
    if len(found) > 1 and all(map(pa.types.is_list, found)):
        found -= {pa.list_(pa.null())}  # of empty lists
    if len(found) == 1:
        return next(iter(found))
    if found == {pa.int64(), pa.float64()}:
        return pa.float64() if ints_are_floats else pa.string()
    if all(pa.types.is_decimal(kind) or kind == pa.int64() for kind in found):
        scale = max(getattr(kind, "scale", 0) for kind in found)
        whole = max(kind.precision - kind.scale if pa.types.is_decimal(kind) else _INT_DIGITS for kind in found)
        return _decimal(whole, scale)
    return pa.string()


def has_no_value(group: pq.RowGroupMetaData, position: int) -> bool:
    """Whether a column of a row group, by its position, is known to hold missing values only."""
    statistics = group.column(position).statistics
    return statistics is not None and statistics.has_null_count and statistics.null_count == group.num_rows


def as_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as text, each value as `array_of` writes it where it must."""
    if pa.types.is_string(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        return column.cast(pa.string())
    return pa.chunked_array(
        [[None if value is None else as_text(value) for value in plain_column(column)]], pa.string()
    )


def _fixed(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(_prepared(values, kind) if kind == pa.string() else values, kind)


def _prepared(values: Sequence[Any], kind: pa.DataType) -> list[Any]:
    """Values as Arrow takes them for a type."""
    if kind == pa.string():
        return [None if value is None else as_text(value) for value in values]
    if kind == pa.float64():
        return [None if value is None else float(value) for value in values]
    if pa.types.is_decimal(kind):
        return [None if value is None else Decimal(value) for value in values]
    return list(values)


def _kind(values: Sequence[Any]) -> pa.DataType:
    """The type of scalars."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {datetime}:
        zones = {value.tzinfo is None for value in values if value is not None}
        return pa.string() if len(zones) > 1 else pa.timestamp("us", None if zones == {True} else "UTC")
    if len(kinds) == 1 and (kind := _TYPES.get(next(iter(kinds)))) is not None:
        return kind
    numbers = [value for value in values if value is not None]
    if kinds == {int}:
        return pa.int64() if all(_LOWEST <= value <= _HIGHEST for value in numbers) else pa.string()
    if kinds == {int, float}:
        return pa.float64() if all(map(_is_float, numbers)) else pa.string()
    if Decimal in kinds and kinds <= {int, Decimal}:
        digits = [Decimal(value).as_tuple() for value in numbers]
        scale = max(-min(int(number.exponent), 0) for number in digits)
        return _decimal(max(len(number.digits) + int(number.exponent) for number in digits), scale)
    return pa.string()


def _decimal(whole: int, scale: int) -> pa.DataType:
    """The decimal type with so many digits before and behind the point; text where they are too many."""
    digits = max(whole, 0) + scale
    return pa.decimal128(max(digits, 1), scale) if digits <= _DECIMAL_DIGITS else pa.string()


def _is_float(value: float) -> bool:
    """Whether a number is exactly a float64."""
    if isinstance(value, float) or abs(value) <= EXACT_INTEGER:
        return True
    return value.bit_length() < 1024 and int(float(value)) == value

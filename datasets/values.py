"""Values of foreign tables and JSON as values that a gallery stores.

What is stored: null, bool, int, float, decimal, text, date, timestamp, time, duration, and lists of these. A struct, a
map or another nested value becomes JSON text; bytes are left out. Nothing here raises because of what a value holds.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import chain
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from .text import valid_text

_TOO_DEEP = "nested too deeply"
# The types of values without parts.
SCALARS = (bool, int, float, str, Decimal, date, time, timedelta)  # a datetime is a date
# What Python and Arrow raise for a value that they cannot represent: a year 20 000, say.
_NOT_REPRESENTABLE = (pa.ArrowException, ValueError, OverflowError)
_Types: TypeAlias = tuple[Callable[[pa.DataType], bool], ...]
_BYTES: _Types = (
    pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view,
)  # fmt: skip
_TEXTS: _Types = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_LIST_VIEWS: _Types = (pa.types.is_list_view, pa.types.is_large_list_view)
_LISTS: _Types = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def plain(value: Any) -> Any:
    """A Python value as a gallery stores it. NaN and infinity are missing values; a list of scalars stays a list."""
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(timezone.utc)
    if value is None or isinstance(value, SCALARS):
        return value
    if isinstance(value, (list, tuple)) and all(item is None or isinstance(item, SCALARS) for item in value):
        return [plain(item) for item in value]
    return None if isinstance(value, (bytes, bytearray)) else as_text(value)


def jsonable(value: Any) -> Any:
    """A value as JSON knows it: dates and times in ISO 8601, durations in seconds, without bytes.

    A decimal is a number if a number has all its digits, otherwise text. NaN and infinity become null.
    """
    if isinstance(value, str):
        return valid_text(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() and Decimal(repr(float(value))) == value else str(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, dict):
        return {valid_text(str(name)): jsonable(item) for name, item in value.items() if not isinstance(item, bytes)}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return None if isinstance(value, (bytes, bytearray)) else valid_text(str(value))


def as_text(value: Any) -> str:
    """A value as text: text as it is, dates and times in ISO 8601, everything else as JSON."""
    if isinstance(value, Decimal):
        return str(value)
    try:
        found = jsonable(value)
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    except RecursionError:
        return _TOO_DEEP


def holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column has nothing but bytes, which are left out: binary, a list of binary, a dictionary of it."""
    if isinstance(kind, pa.UuidType):
        return False
    if _is(kind, (*_LISTS, *_LIST_VIEWS)) or pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return holds_bytes(kind.value_type)
    return holds_bytes(kind.storage_type) if isinstance(kind, pa.BaseExtensionType) else _is(kind, _BYTES)


def plain_column(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    """The values of an Arrow column as a gallery stores them; see `plain`.

    Raises:
        NotImplementedError: if Arrow has no way to read values of this type.
    """
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return [plain(value) for chunk in chunks for value in _values(chunk)]


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of an Arrow table without its columns of bytes; of two columns with one name the later is `table_…`."""
    columns: dict[str, list[Any]] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not holds_bytes(column.type):
            while name in columns:
                name = f"table_{name}"
            columns[name] = plain_column(column)
    return [{name: values[row] for name, values in columns.items()} for row in range(table.num_rows)]


def _is(kind: pa.DataType, types: _Types) -> bool:
    return any(is_type(kind) for is_type in types)


def _values(array: pa.Array) -> list[Any]:
    """The values of an Arrow array: structs and maps as dicts without their bytes, bytes as None."""
    kind = array.type
    if isinstance(kind, pa.UuidType):
        return [None if value is None else str(uuid.UUID(bytes=value)) for value in array.storage.to_pylist()]
    if isinstance(kind, pa.BaseExtensionType):
        return _values(array.storage)
    if pa.types.is_dictionary(kind):
        return _values(array.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return _values(pc.call_function("run_end_decode", [array]))
    if _is(kind, _LIST_VIEWS):
        items, places = _values(array.values), zip(array.offsets.to_pylist(), array.sizes.to_pylist(), strict=True)
        views = [items[start : start + size] for start, size in places]
        return [view if is_valid else None for view, is_valid in zip(views, array.is_valid().to_pylist(), strict=True)]
    if _is(kind, _LISTS):
        items = iter(_values(pc.call_function("list_flatten", [array])))
        lengths = pc.call_function("list_value_length", [array]).to_pylist()
        return [None if length is None else [next(items) for _ in range(length)] for length in lengths]
    if pa.types.is_map(kind):
        return list(_maps(array))
    if pa.types.is_struct(kind):
        return list(_structs(array))
    if _is(kind, _BYTES):
        return [None] * len(array)
    return _texts(array) if _is(kind, _TEXTS) else _scalars(array)


def _maps(array: pa.Array) -> Iterator[dict[str, Any] | list[Any] | None]:
    """Maps as dicts; those whose keys are no texts, or repeat, as lists of pairs."""
    keys, items, ends = _values(array.keys), _values(array.items), array.offsets.to_pylist()
    for is_valid, start, end in zip(array.is_valid().to_pylist(), ends[:-1], ends[1:], strict=True):
        pairs = list(zip(keys[start:end], items[start:end], strict=True))
        are_names = all(isinstance(key, str) for key, _ in pairs) and len(dict(pairs)) == len(pairs)
        yield (dict(pairs) if are_names else [list(pair) for pair in pairs]) if is_valid else None


def _structs(array: pa.Array) -> Iterator[dict[str, Any] | None]:
    fields = [array.type.field(i) for i in range(array.type.num_fields)]
    kept = [i for i, field in enumerate(fields) if not holds_bytes(field.type)]
    # Names may repeat: a later field then has its position in its name.
    names: dict[str, int] = {}
    for i in kept:
        names[fields[i].name if fields[i].name not in names else f"{fields[i].name}_{i}"] = i
    children = array.flatten()
    columns = [_values(children[i]) for i in names.values()]
    rows = zip(*columns, strict=True) if columns else ((),) * len(array)
    for is_valid, row in zip(array.is_valid().to_pylist(), rows, strict=True):
        yield dict(zip(names, row, strict=True)) if is_valid else None


def _texts(array: pa.Array) -> list[str | None]:
    """Texts; where bytes are not UTF-8 they become `�`."""
    try:
        return array.to_pylist()
    except UnicodeDecodeError:
        values: Sequence[bytes | None] = array.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "replace") for value in values]


def _scalars(array: pa.Array) -> list[Any]:
    """Scalars in microseconds, which Python and SQL have; if that would lose digits or years, as text."""
    kind, target = array.type, array.type
    if pa.types.is_timestamp(kind):
        target = pa.timestamp("us", None if kind.tz is None else "UTC")
    elif pa.types.is_time(kind):
        target = pa.time64("us")
    elif pa.types.is_duration(kind):
        target = pa.duration("us")
    try:
        return array.cast(target).to_pylist()
    except _NOT_REPRESENTABLE:
        pass
    if pa.types.is_duration(kind):
        return [None if value is None else f"{value} {kind.unit}" for value in array.cast(pa.int64()).to_pylist()]
    zone = ""
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        array, zone = array.cast(pa.timestamp(kind.unit, "UTC")).cast(pa.timestamp(kind.unit)), "+00:00"
    texts = array.cast(pa.string()).to_pylist()
    numbers = array.view(pa.int32() if pa.types.is_date32(kind) else pa.int64()).to_pylist()
    unit = "days" if pa.types.is_date32(kind) else getattr(kind, "unit", "ms")
    return [
        # Arrow has years up to 32767.
        f"{number} {unit} since 1970" if text and text.startswith("<") else text and text.replace(" ", "T") + zone
        for text, number in zip(texts, numbers, strict=True)
    ]


def common_kind(values: Sequence[Any]) -> set[type]:
    """The types among values and, for lists, among their items; None does not count."""
    items = chain.from_iterable(value if isinstance(value, list) else (value,) for value in values)
    return {type(item) for item in items if item is not None}

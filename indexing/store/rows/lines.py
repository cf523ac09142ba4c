"""A row of metadata as a line of text: a JSON array of its values, a tab, and the CRC-32 of the array.

The columns' names and types are those of the part and are not repeated in each line. JSON has texts, numbers, truth
values and lists; a decimal is written as text, and dates, times and durations as the integers that Arrow has for them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from ....datasets.checksums import line_seal

if TYPE_CHECKING:
    import pyarrow as pa

Values: TypeAlias = list[Any]
# The columns of a part: the name of each as written, and what restores its values: see `_RESTORED`.
LineSchema: TypeAlias = tuple[tuple[str, str], ...]
_Restore: TypeAlias = Callable[[Any], Any]

_SEAL_BYTES = len(line_seal(b""))
_DECODER = json.JSONDecoder()
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)
_PLAIN, _DECIMAL = "plain", "decimal"
# Types that a line holds as integers: the name of Arrow's type, and the arguments of its factory. Arrow turns the
# integers into values, so that they are those of the part; it is only imported for rows that have such columns.
_RESTORED = {
    "date": ("date32", ()),
    "time": ("time64", ("us",)),
    "timestamp": ("timestamp", ("us",)),
    "timestamp in UTC": ("timestamp", ("us", "UTC")),
    "duration": ("duration", ("us",)),
}


class DamagedLineError(ValueError):
    """A line is not the one that was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """Lines → rows, for the columns of some parts.

    Attributes:
        names: of the columns, as written.
        restore: position of a column → the value of what a line holds; only for the types that JSON lacks.
    """

    names: tuple[str, ...]
    restore: tuple[tuple[int, _Restore], ...]

    @classmethod
    def of(cls, schema: LineSchema) -> Codec:
        """The codec for the columns of a part.

        Raises:
            KeyError: if a later release has written it.
        """
        restores = [(i, _restore(kind)) for i, (_, kind) in enumerate(schema) if kind != _PLAIN]
        return cls(names=tuple(name for name, _ in schema), restore=tuple(restores))

    def decode(self, line: bytes) -> Values:
        """The values of a line, as pyarrow returns them for the part.

        Raises:
            DamagedLineError: if the checksum does not fit, or there are fewer or more values than columns.
        """
        body = line[:-_SEAL_BYTES]
        if line[-_SEAL_BYTES:] != line_seal(body):
            raise DamagedLineError("a line does not have its checksum")
        values, _ = _DECODER.raw_decode(str(body, "utf-8"))  # `json.loads` takes a quarter longer
        if len(values) != len(self.names):
            raise DamagedLineError(f"a line has {len(values)} values instead of {len(self.names)}")
        for position, restore in self.restore:
            if values[position] is not None:
                values[position] = restore(values[position])
        return values


def line_schema(schema: pa.Schema) -> LineSchema:
    """The columns of a part as the row store notes them.

    Raises:
        TypeError: if a line cannot hold a type; no part has such a column.
    """
    return tuple((field.name, _kind(field.type)) for field in schema)


def lines(table: pa.Table) -> Iterator[bytes]:
    """The rows of a table, which has columns, as lines; `Codec.decode` is the inverse."""
    encode = _ENCODER.encode
    for values in zip(*(_stored(column) for column in table.columns), strict=True):
        body = encode(values).encode("utf-8")
        yield body + line_seal(body)


def _kind(kind: pa.DataType) -> str:
    """What restores the values of a type, or the items of its lists."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        return _kind(kind.value_type)
    plain = (pa.types.is_string, pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
    if any(is_type(kind) for is_type in plain):
        return _PLAIN
    if pa.types.is_decimal(kind):
        return _DECIMAL
    for name, (factory, arguments) in _RESTORED.items():
        if kind == getattr(pa, factory)(*arguments):
            return name
    raise TypeError(f"a row of the row store cannot hold values of type {kind}")


def _stored(column: pa.ChunkedArray) -> Sequence[Any]:
    """The values of a column as JSON has them."""
    import pyarrow as pa

    kind = _kind(column.type)
    if kind == _PLAIN:
        return column.to_pylist()
    if kind == _DECIMAL:
        return [_mapped(str, value) for value in column.to_pylist()]
    integers = pa.int32() if kind == "date" else pa.int64()
    return column.cast(pa.list_(integers) if pa.types.is_list(column.type) else integers).to_pylist()


def _restore(kind: str) -> _Restore:
    """What turns what a line holds into a value or a list of values."""
    if kind == _DECIMAL:
        return lambda value: _mapped(Decimal, value)
    import pyarrow as pa

    factory, arguments = _RESTORED[kind]
    arrow = getattr(pa, factory)(*arguments)
    return lambda value: _mapped(lambda item: pa.scalar(item, arrow).as_py(), value)


def _mapped(function: _Restore, value: Any) -> Any:
    """A function of a value or of each item of a list; missing values stay missing."""
    if isinstance(value, list):
        return [_mapped(function, item) for item in value]
    return None if value is None else function(value)

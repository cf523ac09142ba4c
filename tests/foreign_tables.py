"""Columns as other tools write them: Arrow arrays of every type, each with the values that a gallery must hold."""

from __future__ import annotations

import datetime
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

UTC = datetime.timezone.utc
DAY, MOMENT = datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 23, 59, 58, 7000)
TEXTS = ("", "a", "大熊猫", "it's", '"', "null", "000123", "1e3", "=1+1", "\x1b[31m", "😀")
INTEGERS = (0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63))


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`array` as a file has it, and `values` as a gallery has them; None in their place: the column is left out."""

    array: pa.Array
    values: list[Any] | None


def random_column(rng: random.Random, num_rows: int) -> Column:
    """A column of a random type, with missing values."""
    make = rng.choice(_MAKERS)
    return make(rng, num_rows)


def _scalars(kind: pa.DataType, given: Sequence[Any], stored: Callable[[Any], Any] = lambda value: value) -> Any:
    def make(rng: random.Random, num_rows: int) -> Column:
        values = [rng.choice([None, *given]) for _ in range(num_rows)]
        return Column(
            array=pa.array(values, kind), values=[None if value is None else stored(value) for value in values]
        )

    return make


def _finite(kind: type[np.floating]) -> Callable[[float], float | None]:
    return lambda value: float(kind(value)) if np.isfinite(value) else None


def _lists(rng: random.Random, num_rows: int) -> Column:
    kind, items = rng.choice([(pa.int16(), [1, 2, None]), (pa.string(), ["x", "y", None]), (pa.date32(), [DAY])])
    values = [rng.choice([None, rng.choices(items, k=rng.randrange(3))]) for _ in range(num_rows)]
    return Column(array=pa.array(values, rng.choice([pa.list_, pa.large_list])(kind)), values=values)


def _structs(rng: random.Random, num_rows: int) -> Column:
    given = {"at": MOMENT, "price": Decimal("1.50"), "raw": b"\xff", "in": {"ratio": float("nan"), "tags": ["x"]}}
    text = json.dumps({"at": MOMENT.isoformat(), "price": 1.5, "in": {"ratio": None, "tags": ["x"]}})
    values = [rng.choice([None, given]) for _ in range(num_rows)]
    kind = pa.struct(
        {
            "at": pa.timestamp("us"),
            "price": pa.decimal128(5, 2),
            "raw": pa.binary(),
            "in": pa.struct({"ratio": pa.float32(), "tags": pa.list_(pa.string())}),
        }
    )
    return Column(array=pa.array(values, kind), values=[None if value is None else text for value in values])


def _maps(rng: random.Random, num_rows: int) -> Column:
    values = [rng.choice([None, [], [("k", 1), ("l", None)]]) for _ in range(num_rows)]
    texts = [None if value is None else json.dumps(dict(value)) for value in values]
    return Column(array=pa.array(values, pa.map_(pa.string(), pa.int64())), values=texts)


def _dictionaries(rng: random.Random, num_rows: int) -> Column:
    values = [rng.choice([None, "x", "y"]) for _ in range(num_rows)]
    return Column(array=pa.array(values, pa.string()).dictionary_encode(), values=values)


def _bytes(rng: random.Random, num_rows: int) -> Column:
    kind = rng.choice([pa.binary(), pa.large_binary(), pa.binary(1), pa.list_(pa.binary())])
    value = [b"\xff"] if pa.types.is_list(kind) else b"\xff"
    return Column(array=pa.array([rng.choice([None, value]) for _ in range(num_rows)], kind), values=None)


def _images(rng: random.Random, num_rows: int) -> Column:
    kind = pa.list_(pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    values = [rng.choice([None, [{"bytes": b"\x89PNG", "path": "b.png"}]]) for _ in range(num_rows)]
    texts = [None if value is None else '[{"path": "b.png"}]' for value in values]
    return Column(array=pa.array(values, kind), values=texts)


_FLOATS = (0.5, -0.0, 1e300, float("nan"), float("inf"))
_MAKERS: tuple[Callable[[random.Random, int], Column], ...] = (
    _scalars(pa.bool_(), (True, False)),
    *(_scalars(kind, (0, 1, 100)) for kind in (pa.int8(), pa.uint8(), pa.int16(), pa.uint32())),
    _scalars(pa.int64(), INTEGERS),
    _scalars(pa.uint64(), (0, 2**64 - 1)),
    _scalars(pa.float64(), _FLOATS, _finite(np.float64)),
    _scalars(pa.float32(), (0.5, 0.1, float("nan")), _finite(np.float32)),
    _scalars(pa.float16(), (np.float16(0.5), np.float16(0.1)), float),
    _scalars(pa.decimal128(5, 2), (Decimal("1.50"), Decimal("-20.00"))),
    _scalars(pa.decimal256(50, 1), (Decimal("1" * 45 + ".5"),)),
    *(_scalars(kind, TEXTS) for kind in (pa.string(), pa.large_string())),
    _scalars(pa.date32(), (DAY, datetime.date(1, 1, 1))),
    _scalars(pa.date64(), (DAY,)),
    *(_scalars(pa.timestamp(unit), (MOMENT,)) for unit in ("ms", "us", "ns")),
    *(
        _scalars(pa.timestamp("us", zone), (MOMENT,), lambda value: value.replace(tzinfo=UTC))
        for zone in ("UTC", "Asia/Shanghai")
    ),
    _scalars(pa.time64("us"), (MOMENT.time(),)),
    _scalars(pa.time32("s"), (datetime.time(1, 2, 3),)),
    _scalars(pa.duration("ms"), (datetime.timedelta(days=1, milliseconds=5),)),
    lambda rng, num_rows: Column(array=pa.nulls(num_rows), values=[None] * num_rows),
    _lists, _structs, _maps, _dictionaries, _bytes, _images,
)  # fmt: skip

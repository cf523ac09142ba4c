"""A gallery's column has one type over all parts, and no value changes for it."""

from __future__ import annotations

import datetime
import random
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import foreign_tables
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import rounds
from galleries import SPEC, snapshot_of

from diantu.datasets import InputError
from diantu.datasets.values import as_text
from diantu.indexing.store.columns import Columns
from diantu.indexing.store.filters import Filters
from diantu.indexing.store.layout import metadata_path
from diantu.indexing.store.manifest import Manifest
from diantu.indexing.store.metadata import Metadata
from diantu.indexing.store.snapshot import Snapshot
from diantu.indexing.store.tables import array_of, metadata_table

DAY, MOMENT, ID = datetime.date(2024, 1, 5), datetime.datetime(2024, 3, 1, 12), 1234567890123456789
UTC = datetime.timezone.utc


def of_parts(root: Path, *parts: list[Any]) -> Snapshot:
    """A gallery whose only column besides diantu's is `x`."""
    (root / "metadata").mkdir(parents=True)
    for number, values in enumerate(parts):
        table = metadata_table([{"key": f"{number}-{i}", "x": value} for i, value in enumerate(values)])
        pq.write_table(table, metadata_path(root, number))
    counts = tuple((number, len(values)) for number, values in enumerate(parts))
    return snapshot_of(root, Manifest(encoders=(SPEC,), parts=counts))


def column_of(snapshot: Snapshot) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for _, table in Columns(snapshot).blocks(["x"]) for chunk in table["x"].chunks])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2**63 - 1], pa.int64()),
        ([1, 2**63], pa.string()),
        ([1, 0.5, 2**53], pa.float64()),
        ([ID, 0.5], pa.string()),
        ([10**400, 0.5], pa.string()),
        ([True, False], pa.bool_()),
        ([True, 1], pa.string()),
        ([DAY], pa.date32()),
        ([MOMENT], pa.timestamp("us")),
        ([MOMENT.replace(tzinfo=UTC)], pa.timestamp("us", "UTC")),
        ([MOMENT, MOMENT.replace(tzinfo=UTC)], pa.string()),
        ([DAY, MOMENT], pa.string()),
        ([Decimal("1.50"), Decimal("1200"), 3], pa.decimal128(6, 2)),
        ([Decimal("0.05"), Decimal("1E+3")], pa.decimal128(6, 2)),
        ([Decimal("1" * 39)], pa.string()),
        ([Decimal("1.5"), 0.5], pa.string()),
        ([["a", None], [], None], pa.list_(pa.string())),
        ([[1], [ID]], pa.list_(pa.int64())),
        ([["a"], [1]], pa.list_(pa.string())),
        ([["a"], "a"], pa.string()),
        ([[], [None]], pa.list_(pa.null())),
    ],
)
def test_a_part_keeps_values_as_they_are_or_as_text(values: list[Any], kind: pa.DataType) -> None:
    found = array_of([*values, None])
    assert found.type == kind
    if kind == pa.string():
        values = [None if value is None else as_text(value) for value in values]
    elif kind == pa.list_(pa.string()):
        values = [value and [item and as_text(item) for item in value] for value in values]
    assert found.to_pylist() == [*values, None]


@pytest.mark.parametrize(
    ("parts", "kind", "where", "rows"),
    [
        (([ID, ID + 1], [0.5]), pa.string(), f"x = {ID}", [0]),
        (([1, 2], [0.5]), pa.float64(), "x >= 1", [0, 1]),
        (([1], [2**63]), pa.string(), "x = '1'", [0]),
        (([True], [1]), pa.string(), "x = 'true'", [0]),
        (([DAY], [DAY.replace(year=2020)]), pa.date32(), "x >= '2023-01-01'", [0]),
        (([DAY], ["soon"]), pa.string(), "x = '2024-01-05'", [0]),
        (([MOMENT], [None], [MOMENT]), pa.timestamp("us"), "x > '2023-01-01' AND year(x) = 2024", [0, 2]),
        (([MOMENT.replace(tzinfo=UTC)],), pa.timestamp("us", "UTC"), "x >= '2024-03-01 12:00:00'", [0]),
        (([Decimal("1.50")], [Decimal("20.125")], [3]), pa.decimal128(22, 3), "x > 2", [1, 2]),
        (([Decimal("1.50")], [0.5]), pa.string(), "x = '1.50'", [0]),
        (([["a", "b"]], [[]], [["b"]]), pa.list_(pa.string()), "list_contains(x, 'b')", [0, 2]),
        (([[1]], [["a"]]), pa.string(), "x = '[1]'", [0]),
        (([[]],), pa.list_(pa.string()), "len(x) = 0", [0]),
        ((['{"a": {"b": 3}}'],), pa.string(), "x->>'$.a.b' = '3'", [0]),
        (([datetime.timedelta(minutes=2)],), pa.duration("us"), "x > INTERVAL 1 MINUTE", [0]),
        (([MOMENT.time()],), pa.time64("us"), "x = '12:00'", [0]),
    ],
)
def test_parts_of_different_types_have_one(
    tmp_path: Path, parts: tuple[list[Any], ...], kind: pa.DataType, where: str, rows: list[int]
) -> None:
    snapshot = of_parts(tmp_path, *parts)
    values = [value for part in parts for value in part]
    column = column_of(snapshot)
    assert column.type == kind
    assert column.to_pylist() == [as_text(v) if kind == pa.string() and v is not None else v for v in values]
    assert Filters(Columns(snapshot)).rows(where).rows().tolist() == rows
    found = Metadata(snapshot).rows(np.arange(len(values)))
    own = [value if value != 2**63 else str(value) for value in values]
    assert [record["x"] for record in found] == own  # as its part has it


def test_names_that_differ_in_case_are_one_column(tmp_path: Path) -> None:
    table = metadata_table([{"key": "a", "Price": 1}, {"key": "b", "price": 2}])
    assert table["Price"].to_pylist() == [1, 2]
    assert "price" not in table.column_names


@pytest.mark.fuzz
def test_parts_with_any_columns_can_be_filtered(tmp_path: Path) -> None:
    """What a gallery holds of a foreign column equals its values, or is their text; no condition ends in a crash."""
    rng = random.Random(1)
    for number in range(rounds(8)):
        columns = [foreign_tables.random_column(rng, rng.randrange(1, 4)) for _ in range(rng.randrange(1, 4))]
        parts = [column.values for column in columns if column.values is not None]
        if not parts:
            continue
        snapshot = of_parts(tmp_path / str(number), *parts)
        values = [value for part in parts for value in part]
        stored = column_of(snapshot).to_pylist()
        for given, found in zip(values, stored, strict=True):
            assert found == given or found == as_text(given), (given, found)
        filters = Filters(Columns(snapshot))
        present = [row for row, value in enumerate(values) if value is not None]
        assert filters.rows("x IS NOT NULL").rows().tolist() == present
        for where in ("x = 1", "x > '2020-01-01'", "list_contains(x, 'a')", "x < 0.5", "x", "x LIKE '%a%'"):
            with suppress(InputError):  # where the type does not fit
                filters.rows(where)


def test_empty_lists_beside_numbers_become_text(tmp_path: Path) -> None:
    snapshot = of_parts(tmp_path, [[], None], [1.5])
    assert column_of(snapshot).to_pylist() == ["[]", None, "1.5"]

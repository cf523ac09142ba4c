"""Foreign values as a gallery stores them."""

from __future__ import annotations

import datetime
import random
from decimal import Decimal
from typing import Any

import foreign_tables
import pyarrow as pa
import pytest
from fuzzing import rounds

from diantu.datasets.names import RESERVED, free_name, further_columns
from diantu.datasets.values import as_text, holds_bytes, jsonable, plain, plain_column
from diantu.indexing.store.tables import COLUMNS

MOMENT = datetime.datetime(2024, 3, 1, 12)


@pytest.mark.fuzz
def test_columns_of_every_type_keep_their_values() -> None:
    rng = random.Random(0)
    for _ in range(rounds(200)):
        column = foreign_tables.random_column(rng, rng.randrange(5))
        assert holds_bytes(column.array.type) == (column.values is None)
        found = plain_column(column.array)
        if column.values is not None:
            assert (found, [type(value) for value in found]) == (column.values, [type(v) for v in column.values])


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (pa.array([1_000_000_001], pa.timestamp("ns")), "1970-01-01T00:00:01.000000001"),
        (pa.array([1_000_000_001], pa.timestamp("ns", "Asia/Shanghai")), "1970-01-01T00:00:01.000000001+00:00"),
        (pa.array([900_000_000_000], pa.timestamp("s")), "30489-11-11T16:00:00"),
        (pa.array([10_000_000], pa.date32()), "29349-01-26"),
        (pa.array([2**31 - 1], pa.date32()), "2147483647 days since 1970"),
        (pa.array([-(2**62)], pa.date64()), "-4611686018427387904 ms since 1970"),
        (pa.array([2**60], pa.timestamp("s")), "1152921504606846976 s since 1970"),
        (pa.array([2**60], pa.timestamp("s", "Asia/Shanghai")), "1152921504606846976 s since 1970"),
        (pa.array([5], pa.time64("ns")), "00:00:00.000000005"),
        (pa.array([5], pa.duration("ns")), "5 ns"),
        (pa.array([[(1, "a"), (1, "b")]], pa.map_(pa.int64(), pa.string())), '[[1, "a"], [1, "b"]]'),
        (pa.array([[[1], [2]]]), "[[1], [2]]"),
        (pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), '{"a": 1, "a_1": 2}'),
    ],
)
def test_what_python_and_sql_cannot_hold_is_text(array: pa.Array, text: str) -> None:
    assert plain_column(array) == [text]


def test_arrays_may_be_views_of_others() -> None:
    assert plain_column(pa.array([[1], [2], None, [3, 4]])[1:]) == [[2], None, [3, 4]]
    assert plain_column(pa.array([{"a": 1}, {"a": 2}])[1:]) == ['{"a": 2}']
    maps = pa.array([[("a", 1)], [("b", 2)]], pa.map_(pa.string(), pa.int64()))
    assert plain_column(maps[1:]) == ['{"b": 2}']
    assert plain_column(pa.array([["a"], None], pa.list_view(pa.string()))) == [["a"], None]
    assert plain_column(pa.array([[1, 2], None], pa.list_(pa.int8(), 2))) == [[1, 2], None]
    assert plain_column(pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"])) == ["a", "a", "b"]


def test_texts_that_are_not_utf8_do_not_end_a_job() -> None:
    offsets, data = pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xffa")
    assert plain_column(pa.Array.from_buffers(pa.string(), 1, [None, offsets, data])) == ["\ufffda"]
    assert plain("\ud83d!") == "\ufffd!"


def test_values_as_json_and_as_text() -> None:
    assert jsonable({"d": MOMENT, "n": float("nan"), "raw": b"x", "t": datetime.timedelta(seconds=90)}) == {
        "d": "2024-03-01T12:00:00", "n": None, "t": 90.0,
    }  # fmt: skip
    assert (jsonable(Decimal("1.50")), jsonable(Decimal("0.1234567890123456789"))) == (1.5, "0.1234567890123456789")
    assert [as_text(value) for value in (MOMENT, True, 1.0, Decimal("1.50"), ["a", 1], "a")] == [
        "2024-03-01T12:00:00", "true", "1.0", "1.50", '["a", 1]', "a",
    ]  # fmt: skip
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert plain(deep) == "nested too deeply"


def test_a_column_of_the_user_is_kept_beside_one_of_diantu() -> None:
    assert RESERVED.issuperset(COLUMNS)
    ours = {"key": "k", "caption": "a sofa", "width": 64, "length": 812}
    theirs = {
        "length": 220, "Width": 64, "score": 3, "rank": None, "table_score": 4, "KEY": "k", "caption": "a sofa ",
        "url": "u", "Price": 1, "price": 2, "": 5,
    }  # fmt: skip
    assert further_columns(ours, theirs.items()) == {
        "table_length": 220, "table_Width": 64, "table_score": 3, "table_rank": None, "table_table_score": 4,
        "table_url": "u", "Price": 1, "table_price": 2, "table_": 5,
    }  # fmt: skip


def test_captions_and_the_sizes_of_img2dataset_are_not_kept_twice() -> None:
    ours = {"caption": "one", "width": 64, "height": 48}
    sizes = {"width": 64, "height": 40, "original_width": 640, "original_height": 480}
    assert further_columns(ours, sizes.items()) == {
        "table_height": 40, "original_width": 640, "original_height": 480,
    }  # fmt: skip
    several = {"caption": ["one", "two"], "captions": ["one", "two"]}
    assert further_columns(ours, several.items()) == {"captions": ["one", "two"]}
    assert further_columns(ours, {"caption": "another"}.items()) == {"table_caption": "another"}


def test_a_free_name_differs_from_all_others_in_more_than_case() -> None:
    taken = {"a", "table_a"}
    assert [free_name(name, taken) for name in ("A", "b", "B")] == ["table_table_A", "b", "table_B"]

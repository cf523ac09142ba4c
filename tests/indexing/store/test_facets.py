"""What the columns of a gallery hold."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from galleries import SPEC, keyed, unit, write_gallery

from diantu.datasets import InputError
from diantu.indexing.store.facets import Facets
from diantu.indexing.store.records import REMEDY
from diantu.indexing.upkeep.deletion import delete
from diantu.indexing.upkeep.importing import import_vectors
from diantu.search import Gallery


def facets(root: Path, *parts: list[dict[str, Any]]) -> Facets:
    """The facets of parts with these fields, whose rows are called `0-0`, `0-1` and so on."""
    records = [
        [{"key": f"{number}-{row}", "caption": None, **fields} for row, fields in enumerate(part)]
        for number, part in enumerate(parts)
    ]
    return Gallery.open(write_gallery(root, records)).facets()


def column(found: Facets, name: str) -> dict[str, Any]:
    (facet,) = [each.to_json() for each in found.columns if each.name == name]
    return {field: value for field, value in facet.items() if field != "name"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, None, -7, 1 << 62], {"type": "BIGINT", "kind": "range", "missing": 1, "min": -7, "max": 1 << 62}),
        ([0.5, 2, None, None], {"type": "DOUBLE", "kind": "range", "missing": 2, "min": 0.5, "max": 2.0}),
        ([Decimal("1.1"), Decimal(9)], {"type": "DECIMAL(2,1)", "kind": "range", "missing": 0, "min": 1.1, "max": 9.0}),
        (
            [date(2024, 2, 29), date(1999, 1, 1)],
            {"type": "DATE", "kind": "range", "missing": 0, "min": "1999-01-01", "max": "2024-02-29"},
        ),
        (
            [datetime(2024, 1, 1, 12, tzinfo=timezone.utc), None],
            {
                "type": "TIMESTAMP WITH TIME ZONE", "kind": "range", "missing": 1,
                "min": "2024-01-01T12:00:00+00:00", "max": "2024-01-01T12:00:00+00:00",
            },
        ),
        (
            [datetime(2024, 1, 1, 12), None],
            {
                "type": "TIMESTAMP", "kind": "range", "missing": 1,
                "min": "2024-01-01T12:00:00", "max": "2024-01-01T12:00:00",
            },
        ),
        ([time(9, 30), None], {"type": "TIME", "kind": "other", "missing": 1}),
        ([timedelta(seconds=90), timedelta(seconds=3)], {"type": "INTERVAL", "kind": "other", "missing": 0}),
        (
            [True, False, None, True],
            {"type": "BOOLEAN", "kind": "flag", "missing": 1, "true": 2, "false": 1},
        ),
        (
            ["猫", "dog", "猫", None, "<script>"],
            {
                "type": "VARCHAR", "kind": "category", "missing": 1,
                "values": [
                    {"value": "猫", "count": 2}, {"value": "<script>", "count": 1}, {"value": "dog", "count": 1},
                ],
            },
        ),
        (["a", "b", "c"], {"type": "VARCHAR", "kind": "text", "missing": 0}),
        (["x" * 201] * 4, {"type": "VARCHAR", "kind": "text", "missing": 0}),
        ([["a", "b"], None], {"type": "VARCHAR[]", "kind": "list", "missing": 1}),
        ([None, None], {"type": "VARCHAR", "kind": "text", "missing": 2}),
    ],
)  # fmt: skip
def test_kinds_of_columns(tmp_path: Path, values: list[Any], expected: dict[str, Any]) -> None:
    assert column(facets(tmp_path / "g", [{"field": value} for value in values]), "field") == expected


def test_texts_that_repeat_too_seldom_are_no_category(tmp_path: Path) -> None:
    assert column(facets(tmp_path / "a", [{"x": str(n % 30)} for n in range(59)]), "x")["kind"] == "text"
    many = column(facets(tmp_path / "b", [{"x": f"{n % 300:03d}"} for n in range(601)]), "x")
    assert (many["kind"], len(many["values"])) == ("category", 200)
    assert many["values"][:2] == [{"value": "000", "count": 3}, {"value": "001", "count": 2}]
    assert column(facets(tmp_path / "c", [{"x": str(n % 1001)} for n in range(4004)]), "x")["kind"] == "text"


def test_parts_count_together_and_deleted_rows_do_not_count(tmp_path: Path) -> None:
    """Columns that only one part has, and that have other types in the parts."""
    parts = (
        [{"year": 1990, "mixed": 7, "only": "a"}, {"year": 1800, "mixed": 8, "only": "a"}],
        [{"year": 2005.5, "mixed": "x"}, {"year": None, "mixed": "x"}, {"year": 2020, "mixed": "7"}],
    )
    found = facets(tmp_path / "g", *parts)
    assert found.num_rows == 5
    assert column(found, "year") == {"type": "DOUBLE", "kind": "range", "missing": 1, "min": 1800.0, "max": 2020.0}
    assert column(found, "mixed")["values"][:2] == [{"value": "7", "count": 2}, {"value": "x", "count": 2}]
    assert column(found, "only") == {
        "type": "VARCHAR",
        "kind": "category",
        "missing": 3,
        "values": [{"value": "a", "count": 2}],
    }
    delete(tmp_path / "g", keys=["0-1", "1-2"])
    found = Gallery.open(tmp_path / "g").facets()
    assert found.num_rows == 3
    assert column(found, "year") == {"type": "DOUBLE", "kind": "range", "missing": 1, "min": 1990.0, "max": 2005.5}
    assert column(found, "mixed")["values"] == [{"value": "x", "count": 2}, {"value": "7", "count": 1}]


@pytest.mark.parametrize("name", ['a "quoted" name', "a\nb", "日本", "SELECT", "a.b", "x; DROP", " ", "'", "<b>"])
def test_columns_may_have_any_name(tmp_path: Path, name: str) -> None:
    found = facets(tmp_path / "g", [{name: 1}, {name: 2}])
    assert column(found, name) == {"type": "BIGINT", "kind": "range", "missing": 0, "min": 1, "max": 2}


def test_nan_of_older_galleries_is_missing(tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    found = facets(tmp_path / "g", [{"x": nan}, {"x": 3.0}, {"x": inf}, {"x": None}, {"x": -1.0}])
    assert column(found, "x") == {"type": "DOUBLE", "kind": "range", "missing": 3, "min": -1.0, "max": 3.0}
    assert column(facets(tmp_path / "h", [{"x": nan}]), "x") == {
        "type": "DOUBLE", "kind": "range", "missing": 1, "min": None, "max": None,
    }  # fmt: skip


def test_licences_are_counted_whatever_the_column_is_called(tmp_path: Path) -> None:
    parts = ([{"licence": "CC0"}, {"licence": None}, {"licence": "CC0"}], [{"License": "MIT"}, {"License": "CC0"}, {}])
    assert facets(tmp_path / "a", *parts).licences == (("CC0", 3), (None, 2), ("MIT", 1))
    assert facets(tmp_path / "b", [{"license": 4}, {"license": 4}, {"license": 5}]).licences == (("4", 2), ("5", 1))
    assert facets(tmp_path / "c", [{"licence": "unique"}]).licences == (("unique", 1),)
    assert facets(tmp_path / "d", [{"x": 1}]).licences == ()


def test_own_columns_are_named_for_what_they_are(tmp_path: Path) -> None:
    rows = [{"dominant_color": color, "phash": 1 << 63, "width": width} for color, width in (("red", 5), ("blue", 6))]
    found = facets(tmp_path / "g", rows)
    assert column(found, "dominant_color") == {
        "type": "VARCHAR", "kind": "color", "missing": 0,
        "values": [{"value": "blue", "count": 1}, {"value": "red", "count": 1}],
    }  # fmt: skip
    assert column(found, "phash") == {"type": "UBIGINT", "kind": "other", "missing": 0}
    assert column(found, "width") == {"type": "BIGINT", "kind": "range", "missing": 0, "min": 5, "max": 6}
    assert column(found, "key") == {"type": "VARCHAR", "kind": "text", "missing": 0}
    assert column(found, "aspect") == {"type": "DOUBLE", "kind": "range", "missing": 2, "min": None, "max": None}


def test_time_is_bounded(tmp_path: Path) -> None:
    gallery = Gallery.open(write_gallery(tmp_path / "g", keyed(4, 4, 4)))
    assert gallery.facets(seconds=0).num_rows == 4
    assert gallery.facets().num_rows == 12


def test_an_empty_gallery_has_columns_without_values(tmp_path: Path) -> None:
    found = Gallery.open(write_gallery(tmp_path / "g", [])).facets()
    assert (found.num_rows, found.licences) == (0, ())
    assert column(found, "width") == {"type": "BIGINT", "kind": "range", "missing": 0, "min": None, "max": None}


def test_damaged_metadata_is_told(tmp_path: Path) -> None:
    root = write_gallery(tmp_path / "g", keyed(4))
    path = root / "metadata/metadata_00000.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=REMEDY[:30]):
        Gallery.open(root).facets()


def test_columns_of_imports(tmp_path: Path) -> None:
    (tmp_path / "theirs/img_emb").mkdir(parents=True)
    (tmp_path / "theirs/metadata").mkdir()
    np.save(tmp_path / "theirs/img_emb/img_emb_0.npy", unit(1, 3))
    table = pa.table({"NSFW": ["UNLIKELY", "UNSURE", "UNLIKELY"], "similarity": [0.3, float("nan"), 0.2]})
    pq.write_table(table, tmp_path / "theirs/metadata/metadata_0.parquet")
    import_vectors(tmp_path / "theirs", tmp_path / "g", SPEC)
    found = Gallery.open(tmp_path / "g").facets()
    assert column(found, "NSFW")["values"] == [{"value": "UNLIKELY", "count": 2}, {"value": "UNSURE", "count": 1}]
    assert column(found, "similarity") == {"type": "DOUBLE", "kind": "range", "missing": 1, "min": 0.2, "max": 0.3}

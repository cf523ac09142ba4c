"""Columns of any type, and columns called like diantu's own, in hits, JSON and tables."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from galleries import write_gallery
from histogram import Histogram
from pictures import encoded, picture

from diantu.datasets import find_shards
from diantu.indexing.embed import embed
from diantu.indexing.upkeep.deletion import delete
from diantu.search import Gallery, Hits
from diantu.search.ranking import by_column

MOMENT = datetime.datetime(2024, 3, 1, 12)
PAUSE = datetime.timedelta(seconds=2)
ROWS: list[dict[str, Any]] = [
    {
        "key": "a",
        "made": MOMENT,
        "price": Decimal("1.50"),
        "captions": ["x", "y"],
        "took": datetime.timedelta(seconds=2),
    },
    {"key": "b", "made": MOMENT.replace(year=2020), "price": Decimal("20.00"), "captions": ["z"]},
]
IDS = [{"key": "c", "id": 1234567890123456789}, {"key": "d", "id": 1234567890123456788}]


def test_a_table_beside_images_and_a_sidecar_keep_columns_of_the_users(tmp_path: Path) -> None:
    """A product's length, width and height in centimetres are not the image's."""
    folder = tmp_path / "s"
    folder.mkdir()
    for name in ("sofa", "lamp"):
        (folder / f"{name}.png").write_bytes(encoded(picture(), "PNG"))
    (folder / "t.csv").write_text(
        "file,caption,length,width,score\nsofa.png,a sofa,220,40,7\nlamp.png,a lamp,30,31,9\n"
    )
    (folder / "sofa.json").write_text('{"brightness": 300, "rank": 2}')
    embed(find_shards([str(folder)]), tmp_path / "g", Histogram())
    gallery = Gallery.open(tmp_path / "g", encoder=Histogram())
    (hit,) = gallery.search("red", where="table_width = 40 AND table_length > 200 AND table_score = 7")
    assert (hit.key, hit.metadata["width"]) == ("sofa", 40)
    assert (hit.metadata["table_brightness"], hit.metadata["table_rank"]) == (300, 2)


def every_row(gallery: Gallery, where: str | None = None) -> Hits:
    return gallery.search(vector=np.ones(8), k=9, where=where, sort_by="key")


def test_conditions_json_and_tables_have_the_same_values(tmp_path: Path) -> None:
    gallery = Gallery.open(write_gallery(tmp_path, [ROWS]))
    for where, keys in (
        ("made >= '2023-01-01'", ["a"]),
        ("price > 10", ["b"]),
        ("list_contains(captions, 'y')", ["a"]),
        ("took IS NOT NULL", ["a"]),
    ):
        assert [hit.key for hit in every_row(gallery, where)] == keys
    hits = every_row(gallery)
    assert [{name: hit.metadata[name] for name in ROWS[0]} for hit in hits] == [ROWS[0], ROWS[1] | {"took": None}]
    (first, _) = json.loads(json.dumps(hits.to_json()))["hits"]
    assert first["metadata"] == {"made": "2024-03-01T12:00:00", "price": 1.5, "captions": ["x", "y"], "took": 2.0}
    table = hits.to_arrow()
    assert table.schema.field("made").type == pa.timestamp("us")
    assert table.schema.field("price").type == pa.decimal128(4, 2)
    assert table["captions"].to_pylist() == [["x", "y"], ["z"]]


def test_columns_called_like_fields_of_a_hit_are_kept(tmp_path: Path) -> None:
    """A gallery of an older version has them under their own names."""
    gallery = Gallery.open(write_gallery(tmp_path, [[{"key": "a", "score": 3, "Rank": 4, "folded": 5}]]))
    (hit,) = every_row(gallery, "score = 3")
    assert (hit.metadata["score"], hit.rank) == (3, 1)
    assert hit.to_json()["metadata"] == {"table_score": 3, "table_Rank": 4, "table_folded": 5}
    table = every_row(gallery).to_arrow()
    assert table.select(["table_score", "table_Rank", "table_folded"]).to_pylist() == [
        {"table_score": 3, "table_Rank": 4, "table_folded": 5}
    ]


def test_long_ids_beside_a_fraction_stay_apart(tmp_path: Path) -> None:
    """As floats, both would be the same number, and a deletion would take both."""
    root = write_gallery(tmp_path, [IDS, [{"key": "e", "id": 0.5}]])
    where = "id = 1234567890123456789"
    assert [hit.key for hit in every_row(Gallery.open(root), where)] == ["c"]
    assert every_row(Gallery.open(root)).to_arrow()["id"].to_pylist() == [*(str(row["id"]) for row in IDS), "0.5"]
    assert delete(root, where=where).num_deleted == 1


def test_values_of_different_types_have_an_order() -> None:
    day = MOMENT.date()
    zoned = MOMENT.replace(tzinfo=datetime.timezone.utc)
    values = ["b", MOMENT, 2, None, day, Decimal("1.5"), ["a"], float("nan"), zoned]
    order = by_column(values, descending=False).tolist()
    assert [values[place] for place in order[:-2]] == [
        Decimal("1.5"), 2, day, MOMENT, zoned, ["a"], "b",
    ]  # fmt: skip
    assert set(order[-2:]) == {3, 7}

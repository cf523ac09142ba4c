"""The row store answers as the parts do, whatever their columns, and whatever happens to its files."""

from __future__ import annotations

import datetime
import json
import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from galleries import SPEC
from planted import plant

from diantu.datasets import Shard
from diantu.datasets.checksums import sealed, unsealed
from diantu.indexing.build.job import build_index
from diantu.indexing.build.request import IndexRequest
from diantu.indexing.store import columns as columns_module
from diantu.indexing.store.columns import Columns
from diantu.indexing.store.facets import find_facets
from diantu.indexing.store.filters import Filters
from diantu.indexing.store.manifest import read_manifest
from diantu.indexing.store.metadata import Metadata
from diantu.indexing.store.parts import write_part
from diantu.indexing.store.rows import column_file, writing
from diantu.indexing.store.rows.reading import RowStore
from diantu.indexing.store.rows.segments import read_record, read_segments
from diantu.indexing.store.rows.writing import lay_out_rows, remove_replaced_rows
from diantu.indexing.store.snapshot import Snapshot
from diantu.indexing.store.verify import verify_gallery
from diantu.search import Gallery

DAY, MOMENT = datetime.date(2024, 1, 5), datetime.datetime(2024, 3, 1, 12, 0, 0, 7)
UTC = datetime.timezone.utc
# What one part may hold, one column of each kind.
KINDS: dict[str, list[Any]] = {
    "text": ["山\n水", 'a\t"b"\u2028', "", None],
    "number": [1, -(2**62), None, 0],
    "fraction": [0.1, float("inf"), 1e-300, None],
    "flag": [True, False, None, True],
    "money": [Decimal("1.50"), None, Decimal("20.125"), Decimal("-3")],
    "day": [DAY, None, DAY.replace(year=1912), DAY],
    "moment": [MOMENT, None, MOMENT.replace(year=1950), MOMENT],
    "moment_utc": [MOMENT.replace(tzinfo=UTC), None, MOMENT.replace(year=2050, tzinfo=UTC), None],
    "time": [MOMENT.time(), None, datetime.time(), MOMENT.time()],
    "span": [datetime.timedelta(days=-2, microseconds=5), None, datetime.timedelta(), None],
    "texts": [["a", None], [], None, ["山"]],
    "days": [[DAY], [], None, [DAY, None]],
    "empty": [None] * 4,
}


def of_kinds(*names: str) -> list[dict[str, Any]]:
    return [{name: KINDS[name][i] for name in names} for i in range(4)]


# Parts with the same columns, with others, with another type of the same column, and with another spelling.
PARTS: list[list[dict[str, Any]]] = [
    of_kinds(*KINDS),
    of_kinds("text", "number"),
    of_kinds("empty"),
    [{"number": 0.5, "empty": 3, "TEXT": "x", "moment": "soon"}],
    [{"number": 7, "day": None, "Money": Decimal("4.5")}],
    of_kinds(*reversed(KINDS)),
]


def gallery_of(root: Path, parts: list[list[dict[str, Any]]]) -> Path:
    for records in parts:
        plant(root, np.eye(len(records), 4, dtype=np.float32), records)
    return root


def laid_out(root: Path) -> Path:
    manifest = read_manifest(root)
    lay_out_rows(root, manifest)
    remove_replaced_rows(root, manifest)
    return root


def what_it_says(root: Path) -> dict[str, Any]:
    """All that a reader gets of a gallery's metadata."""
    snapshot = Snapshot.read(root)
    metadata, columns, rows_N = Metadata(snapshot), Columns(snapshot), np.arange(snapshot.num_rows)
    tables = [table for _, table in columns.blocks(list(columns.types))]
    return {
        "rows": metadata.rows(rows_N),
        "some": metadata.rows(rows_N[::-2], ["key", "text", "TEXT", "money", "absent"]),
        "order": [list(record) for record in metadata.rows(rows_N)],
        "types": columns.types,
        "names": columns.names,
        "spellings": {name: columns.spellings(name) for name in columns.names},
        "values": {name: [v for table in tables for v in table[name].to_pylist()] for name in columns.types},
        "facets": find_facets(columns, np.array([1])),
    }


def problems_of(root: Path) -> list[str]:
    """What `diantu status --verify` says about the row store; these galleries have no ledger, which it says too."""
    return [sentence for sentence in verify_gallery(root).sentences if sentence.startswith("rows/")]


def without_parts(root: Path) -> Path:
    """A gallery that can only be read from the row store; mixed columns are not kept there."""
    shutil.rmtree(root / "metadata")
    return root


def test_a_gallery_reads_the_same_with_and_without_its_row_store(tmp_path: Path) -> None:
    root = gallery_of(tmp_path, PARTS)
    before = what_it_says(root)
    assert what_it_says(laid_out(root)) == before
    assert RowStore(Snapshot.read(root)).num_rows == len(before["rows"])


def test_conditions_on_texts_that_repeat_and_texts_that_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups have dictionaries of their own, some columns get many values later, and blocks have threads."""
    monkeypatch.setattr(writing, "_BATCH", 40)
    monkeypatch.setattr(writing, "SEGMENT_ROWS", 200)
    monkeypatch.setattr(columns_module, "_BLOCK", 150)
    colors = ["red", "blue", None, "a colour with a longer name"]
    records = [
        {
            "color": colors[i % 4 if i < 350 else i % 2],
            "late": "same" if i < 90 else f"the text of row {i}",
            "none": "only here" if i == 470 else None,
            "caption": f"a picture of {i}",
            "number": i,
        }
        for i in range(500)
    ]
    root = gallery_of(tmp_path, [records[i : i + 50] for i in range(0, 500, 50)])
    before = what_it_says(root)
    without_parts(laid_out(root))
    assert what_it_says(root) == before
    assert Columns(Snapshot.read(root)).num_blocks > 2
    for where, is_met in {
        "color = 'red' OR color IS NULL": lambda r: r["color"] in ("red", None),
        "regexp_matches(color, 'long.r') AND number < 100": lambda r: r["color"] == colors[3] and r["number"] < 100,
        "late LIKE '%row 9_'": lambda r: 90 <= r["number"] < 100,
        "none = 'only here' OR caption LIKE '%of 7'": lambda r: r["number"] in (7, 470),
        "coalesce(none, color) = 'blue'": lambda r: r["color"] == "blue" and r["none"] is None,
    }.items():
        found = Filters(Columns(Snapshot.read(root))).rows(where).rows().tolist()
        assert found == [i for i, record in enumerate(records) if is_met(record)], where


def test_it_needs_none_of_the_parts_files(tmp_path: Path) -> None:
    root = gallery_of(tmp_path, [of_kinds(*KINDS), of_kinds("text"), of_kinds(*KINDS)])
    before = what_it_says(root)
    assert what_it_says(without_parts(laid_out(root))) == before


def test_values_keep_their_types(tmp_path: Path) -> None:
    """Equality alone would take 1 for True, and an instant in one zone for the same instant in another."""
    root = gallery_of(tmp_path, [of_kinds(*KINDS)])
    before = Metadata(Snapshot.read(root)).rows(np.arange(4))
    after = Metadata(Snapshot.read(without_parts(laid_out(root)))).rows(np.arange(4))
    assert repr(after) == repr(before)


def test_rows_that_came_later_are_read_from_their_parts(tmp_path: Path) -> None:
    root = laid_out(gallery_of(tmp_path, PARTS[:2]))
    gallery_of(root, PARTS[2:])
    late = what_it_says(root)
    shutil.rmtree(root / "rows")
    (root / "checksums.json").unlink()
    assert what_it_says(root) == late


@pytest.mark.parametrize("count", [1, 30])
def test_adding_rows_rewrites_few_and_makes_few_segments(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "SEGMENT_ROWS", 100)
    root, written = tmp_path / "g", 0
    for step in range(25):
        gallery_of(root, [[{"number": step}] * count])
        manifest = read_manifest(root)

        def on_rows(rows: int) -> None:
            nonlocal written
            written += rows

        lay_out_rows(root, manifest, on_rows=on_rows)
        remove_replaced_rows(root, manifest)
        assert sum(segment.num_rows for segment in read_segments(root, manifest)) == manifest.num_rows
    segments = read_segments(root, manifest)
    assert len(segments) <= 3 + manifest.num_rows // 100
    assert written <= 10 * manifest.num_rows
    assert len(list((root / "rows").iterdir())) == 1 + 5 * len(segments)
    numbers = [record["number"] for record in Metadata(Snapshot.read(without_parts(root))).rows(np.arange(25 * count))]
    assert numbers == [step for step in range(25) for _ in range(count)]


def test_a_reader_with_an_older_list_goes_on(tmp_path: Path) -> None:
    root = laid_out(gallery_of(tmp_path, PARTS[:2]))
    snapshot = Snapshot.read(root)
    opened, untouched = Metadata(snapshot), Metadata(snapshot)
    columns, filters = Columns(snapshot), Filters(Columns(snapshot))
    rows_N = np.arange(snapshot.num_rows)
    expected = opened.rows(rows_N)
    assert columns.names
    laid_out(gallery_of(root, PARTS[2:]))  # joins the small segment with the new rows
    assert [segment.number for segment in read_segments(root, read_manifest(root))] == [1]
    assert opened.rows(rows_N) == untouched.rows(rows_N) == expected
    assert filters.rows("number = 0").rows().tolist() == [3, 7]
    assert sum(len(table) for _, table in columns.batches(range(columns.num_pieces))) == len(expected)


def test_a_part_that_was_made_again_is_not_answered_from_the_store(tmp_path: Path) -> None:
    root = laid_out(gallery_of(tmp_path, [[{"text": "old"}] * 3, [{"text": "other"}]]))
    shard = Shard(uri="/0.tar", format="webdataset", size_bytes=0)
    records = [{"key": str(i), "text": "new"} for i in range(3)]
    write_part(root, 0, shard, fingerprint=SPEC.fingerprint, emb_ND=np.eye(3, 4), records=records)
    assert [record["text"] for record in what_it_says(root)["rows"]] == ["new", "new", "new", "other"]
    assert Filters(Columns(Snapshot.read(root))).rows("text = 'new'").count == 3
    laid_out(root)
    assert [record["text"] for record in what_it_says(without_parts(root))["rows"]] == ["new", "new", "new", "other"]


@pytest.mark.parametrize(
    "name",
    [
        "rows_00000.jsonl",
        "offsets_00000.npy",
        "columns_00000.parquet",
        "texts_00000.arrow",
        "record_00000.json",
        "rows.json",
    ],
)
@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_damage_is_told_and_answered_from_the_parts(
    tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = gallery_of(tmp_path, [of_kinds(*KINDS)] * 3)
    before = what_it_says(root)
    path = laid_out(root) / "rows" / name
    if damage == "flipped":
        data = bytearray(path.read_bytes())
        for place in range(len(data) // 10, len(data), len(data) // 5):
            data[place] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        path.unlink()
    assert what_it_says(root) == before
    problems = problems_of(root)
    assert problems, "the damage was not found"
    assert all("diantu index" in sentence for sentence in problems)
    (root / "rows" / "record_00000.json").unlink(missing_ok=True)  # what the sentence says
    assert what_it_says(without_parts(laid_out(root))) == before
    assert not problems_of(root)


def test_a_store_of_an_earlier_version_has_all_columns_in_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column_file, "_MAPPED_BYTES", -1)
    root = gallery_of(tmp_path, [of_kinds(*KINDS)] * 3)
    before = what_it_says(root)
    texts, path = laid_out(root) / "rows" / "texts_00000.arrow", root / "rows" / "record_00000.json"
    texts.unlink()
    record = read_record(root, 0)
    files = {name: entry for name, entry in record.files.items() if name != "rows/texts_00000.arrow"}
    replace(record, files=files).save(root, 0)
    values, _ = unsealed(path.read_bytes())
    del values["texts"]
    path.write_bytes(sealed(values))
    assert not problems_of(root)
    laid_out(root)  # it is up to date and stays
    assert not texts.exists()
    assert what_it_says(without_parts(root)) == before


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_job_that_is_stopped_loses_nothing(tmp_path: Path, stop: int) -> None:
    root = laid_out(gallery_of(tmp_path / "g", PARTS[:3]))
    gallery_of(root, PARTS[3:])
    before, left = what_it_says(root), stop

    def on_rows(count: int) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lay_out_rows(root, read_manifest(root), on_rows=on_rows)
    assert what_it_says(root) == before
    laid_out(root)
    whole = laid_out(gallery_of(tmp_path / "whole", PARTS))
    assert what_it_says(root) == before
    names = [sorted(path.suffix for path in (folder / "rows").iterdir()) for folder in (root, whole)]
    assert names[0] == names[1]


def test_the_index_command_makes_it_says_what_it_takes_and_remembers(tmp_path: Path) -> None:
    root = plant(tmp_path, np.eye(30, 40, dtype=np.float32), num_parts=3)
    report = build_index(root, None)
    size = sum(path.stat().st_size for path in (root / "rows").iterdir()) - (root / "rows/rows.json").stat().st_size
    found = json.loads((root / "index" / "hf_x" / "index.json").read_text())["row_store"]
    assert found == {"num_rows": 30, "bytes": size, "bytes_per_row": round(size / 30, 1)}
    assert report.row_store is not None
    for request, is_there in (
        (IndexRequest(row_store=False), False), (None, False), (IndexRequest(row_store=True), True), (None, True),
    ):  # fmt: skip
        assert (build_index(root, None, request=request).row_store is not None) == is_there
        assert (root / "rows" / "rows_00000.jsonl").exists() == is_there
        assert not problems_of(root)
        assert [hit.key for hit in Gallery.open(root).search(vector=np.eye(40)[3], k=1)] == ["3"]


def test_a_gallery_without_rows_has_an_empty_one(tmp_path: Path) -> None:
    root = laid_out(gallery_of(tmp_path, [[]]))
    assert Metadata(Snapshot.read(root)).rows(np.zeros(0, np.int64)) == []
    assert not problems_of(root)

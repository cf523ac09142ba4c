"""Rows of URL tables, chosen by DuckDB. Nothing is downloaded here."""

from __future__ import annotations

import datetime
import decimal
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diantu.datasets import InputError
from diantu.datasets.download.rows import WORK, Request, choose_rows, find_tables

LAION = {
    "SAMPLE_ID": [1, 2, 3, 4],
    "URL": ["http://a/1.jpg", None, "http://a/3.jpg", " "],
    "TEXT": ["one", "two", "三", None],
    "WIDTH": [100, 600, 700, 800],
    "HEIGHT": [90, 500, 600, 700],
    "punsafe": [0.01, 0.02, 0.5, 0.03],
    "AESTHETIC_SCORE": [4.0, 5.0, 6.0, 7.0],
    "NSFW": ["UNLIKELY", "UNLIKELY", "NSFW", "UNSURE"],
}
COYO = {
    "id": [1, 2],
    "url": ["http://a/1.jpg", "http://a/2.jpg"],
    "text": ["one", "two"],
    "clip_similarity_vitb32": [0.1, 0.3],
    "nsfw_score_opennsfw2": [0.2, 0.9],
    "watermark_score": [0.1, 0.8],
    "aesthetic_score_laion_v2": [4.5, 6.5],
}
DATACOMP = {
    "uid": ["a", "b"],
    "url": ["http://a/1.jpg", "http://a/2.jpg"],
    "text": ["one", "two"],
    "original_width": [100, 600],
    "original_height": [100, 600],
    "clip_b32_similarity_score": [0.1, 0.3],
    "face_bboxes": [[[0.1, 0.2]], []],
    "sha256": ["aa", "bb"],
}


def write(path: Path, columns: dict[str, list[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def choose(table: Path, output: Path, **options: Any) -> list[dict[str, Any]]:
    num_rows = choose_rows(find_tables([str(table)]), Request(**options), output)
    rows = pq.read_table(output / WORK / "rows").to_pylist()
    assert len(rows) == num_rows
    return rows


def test_rows_without_a_url_are_counted_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "diantu"):
        rows = choose(write(tmp_path / "t.parquet", LAION), tmp_path / "out")
    assert [row["url"] for row in rows] == ["http://a/1.jpg", "http://a/3.jpg"]
    assert "4 rows, 4 of them meet the condition, 2 of those have no URL; 2 to download" in caplog.text


@pytest.mark.parametrize(
    ("columns", "where", "ids"),
    [
        (LAION, "punsafe < 0.1 AND WIDTH >= 50", [1]),
        (LAION, "PUNSAFE >= 0.1 and width >= 512 and Height > 512", [3]),
        (LAION, "aesthetic > 5 AND aesthetic_score < 7", [3]),
        (LAION, "caption = '三' AND text = '三' -- and nothing else", [3]),
        (LAION, "nsfw = 'UNLIKELY'", [1]),
        (LAION, "url LIKE '%/3.jpg'", [3]),
        (LAION, "regexp_matches(url, '[13].jpg$') AND levenshtein(caption, 'two') >= 2", [1, 3]),
        (LAION, "[punsafe, 0.5][1] < 0.1 OR hex(caption) IS NULL", [1]),
        (COYO, "similarity > 0.2 and PUNSAFE > 0.5 and pwatermark > 0.5 and aesthetic > 6", [2]),
        (COYO, "Clip_Similarity_ViTB32 < 0.2", [1]),
        (DATACOMP, "width > 500 AND original_height > 500 AND similarity > 0.2", ["b"]),
    ],
)
def test_conditions_use_canonical_names_or_those_of_the_table_in_any_case(
    tmp_path: Path, columns: dict[str, list[Any]], where: str, ids: list[Any]
) -> None:
    rows = choose(write(tmp_path / "t.parquet", columns), tmp_path / "out", where=where)
    assert [row.get("SAMPLE_ID") or row.get("id") or row.get("uid") for row in rows] == ids


def test_the_time_for_a_condition_is_limited(tmp_path: Path) -> None:
    table = write(tmp_path / "t.parquet", {"url": ["http://a/" + "a" * 300] * 3_000})
    slow = " + ".join(["levenshtein(url, url || url)"] * 60)
    with pytest.raises(InputError, match=r"takes longer than 0.1 s, its budget for a million rows"):
        choose_rows([table], Request(where=f"{slow} > 0"), tmp_path / "out", where_timeout=0.1)


def test_columns_named_like_those_of_img2dataset_are_renamed(tmp_path: Path) -> None:
    columns = {"Url": ["http://a"], "url_2": ["x"], "WIDTH": [5], "table_width": [6], "Key": ["k"], "status": ["s"]}
    (row,) = choose(write(tmp_path / "t.parquet", columns), tmp_path / "out")
    assert row == {
        "url": "http://a",
        "url_2": "x",
        "table_WIDTH": 5,
        "table_table_width": 6,
        "table_Key": "k",
        "table_status": "s",
    }


def test_every_scalar_becomes_json_and_other_columns_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    columns = {
        "url": ["http://a"],
        "day": [datetime.date(2024, 5, 1)],
        "at": [datetime.datetime(2024, 5, 1, 12)],
        "price": [decimal.Decimal("1.50")],
        "exact": [decimal.Decimal("12345678901234567.50")],
        "flag": [True],
        "hash": [-(2**62)],
        "kind": pa.array(["x"]).dictionary_encode(),
        "nothing": pa.array([None], pa.float32()),
        "boxes": [[1, 2]],
        "raw": [b"\xff"],
        "a \"quoted\" 'name'": [1],
    }
    (row,) = choose(write(tmp_path / "t.parquet", columns), tmp_path / "out")
    assert json.loads(json.dumps(row)) == {
        "url": "http://a",
        "day": "2024-05-01",
        "at": "2024-05-01 12:00:00",
        "price": 1.5,
        "exact": "12345678901234567.50",
        "flag": True,
        "hash": -(2**62),
        "kind": "x",
        "nothing": None,
        "a \"quoted\" 'name'": 1,
    }
    assert "not scalars are left out: boxes, raw" in caplog.text


def test_urls_are_encoded_like_in_a_browser(tmp_path: Path) -> None:
    urls = ["http://a/大熊猫 1.jpg?q=é", "http://a/%E5%A4%A7.jpg?a=1&b=[2]#x", "\thttp://a/x.jpg \n"]
    rows = choose(write(tmp_path / "t.parquet", {"url": urls}), tmp_path / "out")
    assert rows[0]["url"] == "http://a/%E5%A4%A7%E7%86%8A%E7%8C%AB%201.jpg?q=%C3%A9"
    assert rows[1]["url"] == urls[1]
    assert rows[2]["url"] == "http://a/x.jpg"


def test_files_of_a_folder_are_read_in_order_and_their_columns_joined_by_name(tmp_path: Path) -> None:
    write(tmp_path / "in" / "b" / "2.parquet", {"text": ["two"], "URL": ["http://a/2"]})
    write(tmp_path / "in" / "a.parquet", {"URL": ["http://a/1"], "similarity": [0.5]})
    write(tmp_path / "in" / "_temporary" / "0.parquet", {"URL": ["http://a/0"]})
    write(tmp_path / "in" / WORK / "rows" / "0.parquet", {"URL": ["http://a/0"]})
    assert choose(tmp_path / "in", tmp_path / "out") == [
        {"url": "http://a/1", "caption": None, "similarity": 0.5},
        {"url": "http://a/2", "caption": "two", "similarity": None},
    ]
    twice = find_tables([f"{tmp_path}/in/*.parquet", f"{tmp_path}/in"])
    assert [path.name for path in twice] == ["a.parquet", "2.parquet"]


def test_rows_are_written_in_files_of_whole_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diantu.datasets.download.rows._ROWS_PER_FILE", 25_000)
    num_rows = 150_001
    table = write(tmp_path / "t.parquet", {"url": [f"http://a/{i}" for i in range(num_rows)]})
    rows = choose(table, tmp_path / "out", images_per_shard=7000)
    assert [row["url"] for row in rows] == [f"http://a/{i}" for i in range(num_rows)]
    sizes = [pq.read_metadata(path).num_rows for path in sorted((tmp_path / "out" / WORK / "rows").iterdir())]
    assert sizes == [21_000] * 7 + [3001]


def test_the_limit_takes_the_first_rows_with_a_url(tmp_path: Path) -> None:
    table = write(tmp_path / "t.parquet", {"url": [None, "http://a/1", "http://a/2", "http://a/3"]})
    assert [row["url"] for row in choose(table, tmp_path / "out", limit=2)] == ["http://a/1", "http://a/2"]


@pytest.mark.parametrize(
    "where",
    [
        "read_csv('{secret}')",
        "URL IN (SELECT content FROM read_text('{secret}'))",
        "EXISTS (FROM '{secret}')",
        "EXISTS (FROM '{other}')",
        "EXISTS (FROM glob('{folder}/*'))",
        "EXISTS (FROM columns)",
        "EXISTS (FROM sniff_csv('{secret}'))",
        "1=1; COPY (SELECT 1) TO '{folder}/written.csv'",
        "1=1; SET enable_external_access = true",
        "1=1; ATTACH '{folder}/written.db'",
        "1=1 UNION SELECT 1",
        "1=1 LIMIT 1",
        "1=1 FROM read_csv('{secret}')",
        "punsafe < 1 WHERE punsafe > 2",
        "1=1) OR (1=1",
        "1=1, 2=2",
        "1=1 /* and so on",
        "sum(punsafe) > 1",
        "NSFW < 0.1",
        "",
        "'",
    ],
)
def test_hostile_conditions_are_refused_and_read_nothing(tmp_path: Path, where: str) -> None:
    columns = {"secret": "a python variable"}
    (tmp_path / "secret.csv").write_text("a,b\nhunter2,1\n")
    other = write(tmp_path / "other.parquet", {"url": ["hunter2"]})
    table = write(tmp_path / "t.parquet", LAION)
    filled = where.format(secret=tmp_path / "secret.csv", other=other, folder=tmp_path)
    with pytest.raises(InputError, match="condition") as refused:
        choose(table, tmp_path / "out", where=filled)
    assert "hunter2" not in str(refused.value)
    assert columns
    assert not list(tmp_path.glob("written*"))
    assert not list((tmp_path / "out" / WORK).rglob("*.parquet"))


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (
            LAION,
            {"where": "punsave < 0.1"},
            "names a column 'punsave' that the tables do not have; the nearest: punsafe",
        ),
        (LAION, {"where": "esthetic < 0.1"}, "the nearest: aesthetic"),
        (COYO, {"where": "zzz < 0.1"}, "they have: id, url, text"),
        (LAION, {"where": "NSFW::DOUBLE < 0.1"}, "condition 'NSFW::DOUBLE < 0.1' is not understood"),
        (LAION, {"where": "punsafe > 5"}, "nothing to download: 4 rows, 0 of them meet the condition"),
        ({"link": ["http://a"]}, {}, "no column of URLs among link; call the one that has them url or image_url"),
        ({"url": [1]}, {}, "no column of URLs"),
        (LAION, {"limit": 0}, "limit 0 cannot be used"),
        (LAION, {"image_size": -1}, "image size -1 cannot be used"),
        (LAION, {"resize_mode": "squash"}, "resize mode 'squash' is not known; allowed: keep_ratio"),
    ],
)
def test_bad_input_gets_one_sentence(
    tmp_path: Path, columns: dict[str, list[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        choose(write(tmp_path / "t.parquet", columns), tmp_path / "out", **options)
    assert "\n" not in str(refused.value)


def test_sources_that_are_not_parquet_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="matches no parquet file"):
        find_tables([str(tmp_path / "none.parquet")])
    with pytest.raises(InputError, match="no source was given"):
        find_tables([])
    (tmp_path / "t.parquet").write_bytes(b"not parquet, but long enough to hold a footer")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        choose(tmp_path / "t.parquet", tmp_path / "out")


def test_a_download_continues_under_the_same_request_only(tmp_path: Path) -> None:
    table, output = write(tmp_path / "t.parquet", LAION), tmp_path / "out"
    rows = choose(table, output, where="punsafe < 1")
    (output / "00000.tar").touch()
    (output / "00000_stats.json").touch()
    assert choose(table, output, where="punsafe < 1") == rows
    with pytest.raises(InputError, match="with where 'punsafe < 1', not 'punsafe < 2'; give the same, or another"):
        choose(table, output, where="punsafe < 2")
    with pytest.raises(InputError, match="with image size 384, not 512"):
        choose(table, output, where="punsafe < 1", image_size=512)
    write(table, COYO)
    with pytest.raises(InputError, match="from other tables, or they have changed"):
        choose(table, output, where="punsafe < 1")


@pytest.mark.parametrize("name", ["00000.tar", "00003_stats.json", "notes.json"])
def test_a_folder_with_shards_of_another_origin_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).touch()
    with pytest.raises(InputError, match="of another origin"):
        choose(write(tmp_path / "t.parquet", LAION), tmp_path / "out")


def test_half_written_rows_are_chosen_again(tmp_path: Path) -> None:
    table, output = write(tmp_path / "t.parquet", LAION), tmp_path / "out"
    rows = choose(table, output)
    (output / WORK / "request.json").unlink()
    write(output / WORK / "rows" / "00007.parquet", {"url": ["left over"]})
    assert choose(table, output) == rows

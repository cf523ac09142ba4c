"""SQL conditions against plain Python over the same records."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from galleries import SPEC, keyed, snapshot_of, write_gallery
from hypothesis import given, settings
from hypothesis import strategies as st

from diantu.datasets import InputError
from diantu.indexing.store.columns import Columns
from diantu.indexing.store.duplicates import COLUMNS
from diantu.indexing.store.filters import Filters, matching_rows
from diantu.indexing.store.layout import metadata_path
from diantu.indexing.store.manifest import Manifest, read_manifest
from diantu.indexing.store.tables import metadata_table

Record = dict[str, Any]

# Fields that a sample may lack; what is a whole number in one part may be a fraction in another.
RECORDS = st.fixed_dictionaries(
    {"key": st.sampled_from("abc")},
    optional={
        "punsafe": st.none() | st.floats(0, 1, width=16) | st.integers(0, 1),
        "width": st.integers(1, 3),
        "tag": st.none() | st.sampled_from(["red", "blue's", "大熊猫"]),
        "flag": st.booleans(),
    },
)
CONDITIONS: dict[str, Callable[[Record], bool]] = {
    "punsafe < 0.5": lambda r: r.get("punsafe") is not None and r["punsafe"] < 0.5,
    "punsafe < 0.5 OR punsafe IS NULL": lambda r: r.get("punsafe") is None or r["punsafe"] < 0.5,
    "NOT (punsafe < 0.5)": lambda r: r.get("punsafe") is not None and not r["punsafe"] < 0.5,
    "key = 'a' AND width >= 2": lambda r: r["key"] == "a" and r.get("width", 0) >= 2,
    "TAG = 'blue''s' -- a comment": lambda r: r.get("tag") == "blue's",
    "tag LIKE '%熊猫'": lambda r: r.get("tag") == "大熊猫",
    "flag": lambda r: bool(r.get("flag")),
    "width IS NULL": lambda r: "width" not in r,
    "true": lambda r: True,
    "false": lambda r: False,
}


def write_metadata(root: Path, parts: list[list[Record]]) -> Manifest:
    """Only what conditions are asked of."""
    (root / "metadata").mkdir(parents=True)
    for number, records in enumerate(parts):
        pq.write_table(metadata_table(records), metadata_path(root, number), row_group_size=2)
    return Manifest(encoders=(SPEC,), parts=tuple((number, len(records)) for number, records in enumerate(parts)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(RECORDS, max_size=5), max_size=4))
def test_rows_are_those_that_meet_the_condition(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Record]]
) -> None:
    # The last part has every field, so that no condition names an unknown one.
    parts = [*parts, [{"key": "z", "punsafe": 0.25, "width": 1, "tag": "red", "flag": False}]]
    root = tmp_path_factory.mktemp("filters")
    manifest = write_metadata(root / "g", parts)
    records = [record for part in parts for record in part]
    found = matching_rows(snapshot_of(root / "g", manifest), list(CONDITIONS))
    for (where, is_met), rows_N in zip(CONDITIONS.items(), found, strict=True):
        assert rows_N.dtype == np.int64
        assert rows_N.tolist() == [row for row, record in enumerate(records) if is_met(record)], where


def test_parts_that_are_open_or_empty_number_rows_as_the_manifest_does(tmp_path: Path) -> None:
    root = write_gallery(tmp_path, keyed(2, 0, 3))
    manifest = read_manifest(root)
    assert matching_rows(snapshot_of(root, manifest), ["number >= 1"])[0].tolist() == [1, 2, 3, 4]
    earlier = Manifest(encoders=manifest.encoders, parts=manifest.parts[:1])
    assert matching_rows(snapshot_of(root, earlier), ["number >= 1"])[0].tolist() == [1]


def test_a_gallery_without_rows_has_none_that_match(tmp_path: Path) -> None:
    for parts in ((), ((0, 0), (1, 0))):
        found = matching_rows(snapshot_of(tmp_path, Manifest(encoders=(SPEC,), parts=parts)), ["punsafe < 0.1", "true"])
        assert [(rows_N.dtype, len(rows_N)) for rows_N in found] == [(np.int64, 0)] * 2


def test_a_column_without_a_value_fits_every_condition(tmp_path: Path) -> None:
    manifest = write_metadata(tmp_path / "g", [[{"key": "a", "score": None}, {"key": "b", "score": None}]])
    conditions = ["score > 5", "score = 'x'", "score LIKE '%x%'", "score > DATE '2024-01-01'", "coalesce(score, 1) = 1"]
    found = matching_rows(snapshot_of(tmp_path / "g", manifest), conditions)
    assert [rows_N.tolist() for rows_N in found] == [[], [], [], [], [0, 1]]


def test_words_of_sql_without_parentheses_are_no_columns(tmp_path: Path) -> None:
    manifest = write_metadata(tmp_path / "g", [[{"key": "a", "day": date(2020, 1, 1)}]])
    conditions = ["day < current_date", "CURRENT_TIMESTAMP > day", "if(day IS NULL, 1, 0) = 0"]
    found = matching_rows(snapshot_of(tmp_path / "g", manifest), conditions)
    assert [rows_N.tolist() for rows_N in found] == [[0], [0], [0]]


def test_fields_and_folders_may_have_any_name(tmp_path: Path) -> None:
    root = tmp_path / "date=2024" / "an 'odd' one"  # in such a folder DuckDB would find a column `date`
    odd = {"key": "a", "filename": "f", "date": 1, "select": 1, 'a "quoted" one': 2, "Score": 3}
    manifest = write_metadata(root, [[odd], [{"key": "b", "score": 4}], [{"key": "c"}, {"key": "d", "filename": "f"}]])
    conditions = ["filename = 'f'", "date = 1", '"select" = 1', '"a ""quoted"" one" = 2', "score >= 3"]
    found = matching_rows(snapshot_of(root, manifest), conditions)
    assert [rows_N.tolist() for rows_N in found] == [[0, 3], [0], [0], [0], [0, 1]]


def test_rows_of_many_parts(tmp_path: Path) -> None:
    """More of them than one query reads."""
    manifest = write_metadata(tmp_path, [[{"key": "a"}, {"key": "b"}] for _ in range(600)])
    (rows_N,) = matching_rows(snapshot_of(tmp_path, manifest), ["key = 'b'"])
    np.testing.assert_array_equal(rows_N, np.arange(1, 1200, 2))


@pytest.mark.parametrize(
    "where",
    [
        "read_csv('{secret}')",
        "key IN (FROM '{secret}')",
        "EXISTS (SELECT content FROM read_text('{secret}'))",
        "EXISTS (FROM glob('{folder}/*'))",
        "EXISTS (FROM python_variable)",
        "true; DROP TABLE x",
        "true; SET enable_external_access = true",
        "true; COPY (SELECT 1) TO '{folder}/written.csv'",
        "true UNION SELECT 1",
        "true LIMIT 1",
        "true) OR (true",
        "true, true",
        "true /* and so on",
        "count(*) > 1",
        "key::INTEGER > 1",
        "",
        "'",
    ],
)
def test_a_condition_is_one_expression_and_reaches_nothing_else(tmp_path: Path, where: str) -> None:
    python_variable = {"key": ["hunter2"]}
    (tmp_path / "secret.csv").write_text("key\nhunter2\n")
    manifest = write_metadata(tmp_path / "g", [[{"key": "a"}]])
    filled = where.format(secret=tmp_path / "secret.csv", folder=tmp_path)
    with pytest.raises(InputError, match=r"the condition .* is not understood as one SQL condition") as refused:
        matching_rows(snapshot_of(tmp_path / "g", manifest), [filled])
    assert "hunter2" not in str(refused.value)
    assert python_variable
    assert not list(tmp_path.glob("written*"))


def test_two_hundred_hostile_conditions_are_refused_in_a_sentence(tmp_path: Path) -> None:
    python_variable = {"key": ["hunter2"]}
    (tmp_path / "secret.csv").write_text("key\nhunter2\n")
    manifest = write_metadata(tmp_path / "g", [[{"key": "a"}]])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(hostile.CONDITIONS) >= 200
    filters = Filters(Columns(snapshot_of(tmp_path / "g", manifest)))
    for condition in hostile.CONDITIONS:
        filled = condition.replace("{secret}", str(tmp_path / "secret.csv")).replace("{folder}", str(tmp_path))
        with pytest.raises(InputError) as refused:
            filters.rows(filled)
        sentence = str(refused.value)
        assert sentence.startswith("the condition ")
        assert len(sentence) < 1_000
        assert "\n" not in sentence
        assert "hunter2" not in sentence
    assert python_variable
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_missing_values_are_excluded_or_included(tmp_path: Path) -> None:
    parts: list[list[Record]] = [[{"key": "a", "score": 1}, {"key": "b"}], [{"key": "c", "score": 2.5}], [{"key": "d"}]]
    filters = Filters(Columns(snapshot_of(tmp_path, write_metadata(tmp_path, parts))))
    assert filters.rows("score > 2").rows().tolist() == [2]
    assert filters.rows("score > 2", "include").rows().tolist() == [1, 2, 3]
    assert filters.rows("NOT score > 2").rows().tolist() == [0]
    with pytest.raises(InputError, match="missing 'drop' is not known; missing values: exclude or include"):
        filters.rows("score > 2", "drop")  # type: ignore[arg-type]


def test_names_of_laion_mean_the_columns_that_a_gallery_has(tmp_path: Path) -> None:
    record = {"key": "a", "NSFW": "UNLIKELY", "punsafe": 0.2, "AESTHETIC_SCORE": 6.5, "watermark_score": 0.1}
    manifest = write_metadata(tmp_path, [[record, {"key": "b", "punsafe": 0.9}]])
    met = ["punsafe < 0.5", "aesthetic > 6", "Aesthetic_Score_Laion_V2 > 6", "pwatermark < 0.5", "nsfw = 'UNLIKELY'"]
    assert [rows_N.tolist() for rows_N in matching_rows(snapshot_of(tmp_path, manifest), met)] == [[0]] * len(met)
    with pytest.raises(InputError, match="'similarity > 0' names a column 'similarity'"):
        matching_rows(snapshot_of(tmp_path, manifest), ["similarity > 0"])


def test_near_duplicates_are_a_column(tmp_path: Path) -> None:
    root = write_gallery(tmp_path / "g", keyed(3, 3))
    manifest = read_manifest(root)
    with pytest.raises(InputError, match="'duplicate_of'"):
        matching_rows(snapshot_of(root, manifest), ["duplicate_of = 1"])
    found = pa.table({"row": [2, 4], "duplicate_of": [1, 1], "score": [1.0, 1.0], "hash_distance": [0, 0]})
    settings = {"threshold": 0.9, "max_hash_distance": 8, "num_rows": 6, "num_deleted": 0, "num_cut": 0}
    pq.write_table(
        found.cast(COLUMNS).replace_schema_metadata({"diantu": json.dumps(settings)}), root / "duplicates.parquet"
    )
    found_rows = matching_rows(snapshot_of(root, manifest), ["duplicate_of = 1", "duplicate_of IS NULL AND number < 3"])
    assert [rows_N.tolist() for rows_N in found_rows] == [[2, 4], [0, 1]]


@pytest.mark.parametrize("memory_bytes", [0, 4_000, 1 << 30])
def test_columns_are_kept_within_their_memory(
    tmp_path: Path, memory_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diantu.indexing.store.columns._BLOCK", 100)
    parts = [[{"key": f"{part}-{row}", "number": row} for row in range(60)] for part in range(10)]
    filters = Filters(Columns(snapshot_of(tmp_path, write_metadata(tmp_path, parts)), memory_bytes=memory_bytes))
    for _ in range(2):
        for last in range(5):  # other conditions each time, so that none is answered from those kept
            assert len(filters.rows(f"number = {last} AND key LIKE '%-{last}'").rows()) == 10
    assert filters.rows("number < 30").count == 300
    for metadata in (tmp_path / "metadata").iterdir():
        metadata.unlink()
    if memory_bytes == 1 << 30:
        assert filters.rows("number < 31").count == 310
    else:
        with pytest.raises(InputError, match="is damaged"):
            filters.rows("number < 31")


def test_threads_share_filters(tmp_path: Path) -> None:
    parts = [[{"key": f"{part}-{row}", "number": row} for row in range(100)] for part in range(5)]
    filters = Filters(Columns(snapshot_of(tmp_path, write_metadata(tmp_path, parts))))
    wheres = [f"number < {limit}" for limit in range(100)] * 3
    with ThreadPoolExecutor(8) as pool:
        assert [found.count for found in pool.map(filters.rows, wheres)] == [5 * (i % 100) for i in range(300)]


def test_unknown_columns_are_answered_with_the_nearest(tmp_path: Path) -> None:
    manifest = write_metadata(tmp_path, [[{"key": "a", "punsafe": 0.5}]])
    with pytest.raises(InputError, match=r"'punsave < 1' names a column 'punsave' .* the nearest: punsafe$"):
        matching_rows(snapshot_of(tmp_path, manifest), ["punsave < 1"])
    with pytest.raises(InputError, match="'zzz' that the gallery's rows do not have; they have: key, shard, "):
        matching_rows(snapshot_of(tmp_path, manifest), ["zzz < 1"])


def test_the_time_for_a_condition_is_limited(tmp_path: Path) -> None:
    manifest = write_metadata(tmp_path, [[{"key": "a" * 300, "caption": "a" * 290 + str(row)} for row in range(1_000)]])
    filters = Filters(Columns(snapshot_of(tmp_path, manifest)))
    slow = " + ".join(["levenshtein(key, caption)"] * 60) + " > 0"
    with pytest.raises(InputError, match=r"takes longer than 0.1 s, its budget .* --where-timeout"):
        filters.rows(slow, where_timeout=0.1)
    assert filters.rows("caption = key || '0' OR caption LIKE '%a7'", where_timeout=60).count == 1
    with pytest.raises(InputError, match="the where timeout is 0; give seconds, more than 0"):
        matching_rows(snapshot_of(tmp_path, manifest), ["true"], where_timeout=0)


def test_damaged_metadata_is_named_with_its_remedy(tmp_path: Path) -> None:
    manifest = write_metadata(tmp_path, [[{"key": f"{part}-{row}"} for row in range(50)] for part in range(2)])
    path = metadata_path(tmp_path, 1)
    whole = path.read_bytes()
    other = metadata_table([{"key": "a"}])

    def refused() -> str:
        with pytest.raises(InputError, match=r"status --verify") as error:
            matching_rows(snapshot_of(tmp_path, manifest), ["key = '1-0'"])
        return str(error.value)

    path.write_bytes(whole[:4] + b"\xff" * 100 + whole[104:])
    assert "is damaged" in refused()
    path.write_bytes(whole[:-10])
    assert "metadata_00001.parquet is damaged" in refused()
    pq.write_table(other, path)
    assert "metadata_00001.parquet holds 1 rows, 50 were written" in refused()
    path.unlink()
    assert "metadata_00001.parquet" in refused()

"""Parquet files with images."""

from __future__ import annotations

import random
from pathlib import Path

import foreign_tables
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import rounds
from pictures import encoded, jpeg, picture
from scanned import only, samples

from diantu.datasets import Reason, SampleError, ShardError, find_shards, read_sample, scan


@pytest.mark.parametrize("kind", ["img2dataset", "hugging face", "plain"])
def test_parquet_files_with_images(tmp_path: Path, kind: str) -> None:
    rows = [{"caption": f"c{i}", "score": i} for i in range(7)]
    for i, row in enumerate(rows):
        if kind == "img2dataset":
            row |= {"key": f"k{i}", "jpg": None if i == 3 else jpeg(i), "error_message": "HTTP 404" if i == 3 else None}
        elif kind == "hugging face":
            row |= {"image": {"bytes": None if i == 3 else jpeg(i), "path": f"{i}.jpg"}}
        else:
            row |= {"image of it": None if i == 3 else jpeg(i)}
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet", row_group_size=3)
    (shard,) = find_shards([str(tmp_path)])
    found = scan(shard)
    assert found.num_entries == 7
    read = [read_sample(entry) for entry in found.entries]
    expected = [i for i in range(7) if i != 3]
    assert [s.image for s in read] == [jpeg(i) for i in expected]
    assert [s.caption for s in read] == [f"c{i}" for i in expected]
    assert [s.metadata["score"] for s in read] == expected
    keys = [f"k{i}" if kind == "img2dataset" else f"train_{i:08d}" for i in range(7)]
    assert [s.key for s in read] == [keys[i] for i in expected]
    (failure,) = found.failures
    assert (failure.key, failure.reason) == (keys[3], Reason.NO_IMAGE)
    assert failure.detail == ("HTTP 404" if kind == "img2dataset" else "the row has no image")


def test_parquet_without_images_and_broken_parquet_are_shard_errors(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": ["u"], "a": [b"x"], "b": [b"y"]}), tmp_path / "urls.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing more")
    for name, message in (("urls", "no column of images"), ("broken", "not a parquet file")):
        (shard,) = find_shards([str(tmp_path / f"{name}.parquet")])
        with pytest.raises(ShardError, match=message):
            list(scan(shard).entries)


@pytest.mark.parametrize(
    ("columns", "keys", "kept"),
    [
        ({"id": [7, 8, 9]}, ["7", "8", "9"], None),
        ({"id": [0, 1, 2]}, ["0", "1", "2"], None),
        ({"id": [7, 7, 9]}, ["t_00000000", "t_00000001", "t_00000002"], "id"),
        ({"id": ["a", None, "c"]}, ["t_00000000", "t_00000001", "t_00000002"], "id"),
        ({"key": [None, None, None], "id": [1, 2, 3]}, ["1", "2", "3"], "key"),
        ({"key": [["a"], ["b"], ["c"]]}, ["t_00000000", "t_00000001", "t_00000002"], "key"),
    ],
)
def test_a_column_is_the_key_only_if_it_names_every_row(
    tmp_path: Path, columns: dict[str, list[object]], keys: list[str], kept: str | None
) -> None:
    table = pa.table({"image": [jpeg(i) for i in range(3)], **columns})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    found = samples(only(tmp_path / "t.parquet"))
    assert list(found) == keys
    if kept is not None:
        assert [sample.metadata[kept] for sample in found.values()] == columns[kept]


def test_columns_may_have_the_same_name(tmp_path: Path) -> None:
    arrays = [pa.array([jpeg()]), *(pa.array([value]) for value in (1, 2, 3, {"b": 4}, 5))]
    table = pa.Table.from_arrays(arrays, names=["image", "x", "x", "X", "a", "a.b"])
    pq.write_table(table, tmp_path / "t.parquet")
    (sample,) = samples(only(tmp_path / "t.parquet")).values()
    assert sample.metadata == {"x": 1, "table_x": 2, "X": 3, "a": '{"b": 4}', "a.b": 5}


def test_columns_of_bytes_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    columns = {"image": [jpeg(1)], "mask": [jpeg(2)], "depth": [{"bytes": jpeg(3), "path": "d"}], "raw": [[b"x"]]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    (sample,) = samples(only(tmp_path / "t.parquet")).values()
    assert (sample.image, dict(sample.metadata)) == (jpeg(1), {})
    assert "columns of bytes are left out: depth, mask, raw" in caplog.text


@pytest.mark.fuzz
def test_a_table_with_any_columns_loses_no_row_and_no_value(tmp_path: Path) -> None:
    rng = random.Random(2)
    for number in range(rounds(20)):
        num_rows = rng.randrange(1, 5)
        columns = {
            f"{name}{i}": foreign_tables.random_column(rng, num_rows)
            for i, name in enumerate(rng.sample(["id", "WIDTH", "a.b", "选", 'q"', "caption "], 4))
        }
        table = pa.table({"image": [jpeg()] * num_rows, **{name: column.array for name, column in columns.items()}})
        path = tmp_path / f"{number}.parquet"
        pq.write_table(table, path, row_group_size=2)
        found = samples(only(path))
        assert list(found) == [f"{number}_{row:08d}" for row in range(num_rows)]
        for row, sample in enumerate(found.values()):
            assert sample.metadata == {n: c.values[row] for n, c in columns.items() if c.values is not None}


def test_a_damaged_page_costs_its_column_or_its_images_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = [encoded(picture(i, (200, 150)), "PNG") for i in range(4)]
    texts = [random.Random(i).randbytes(400).hex() for i in range(4)]
    table = pa.table({"image": images, "n": [0, 1, 2, 3], "text": texts})
    path = tmp_path / "t.parquet"
    pq.write_table(table, path, row_group_size=2, use_dictionary=False, write_page_checksum=True)
    whole = path.read_bytes()

    def damage(column: int) -> None:
        chunk = pq.read_metadata(path).row_group(1).column(column)
        data = bytearray(whole)
        middle = chunk.data_page_offset + chunk.total_compressed_size // 2
        data[middle : middle + 8] = bytes(8)
        path.write_bytes(data)

    damage(2)
    found = samples(only(path))
    assert [sample.image for sample in found.values()] == images
    assert [sample.metadata["n"] for sample in found.values()] == [0, 1, 2, 3]
    assert ["text" in sample.metadata for sample in found.values()] == [True, True, False, False]
    assert "the column text is damaged and left out in row group 1" in caplog.text

    path.write_bytes(whole)
    damage(0)
    entries = list(scan(only(path)).entries)
    assert [read_sample(entry).image for entry in entries[:2]] == images[:2]
    for entry in entries[2:]:
        with pytest.raises(SampleError, match=r"row group 1 of .* is damaged"):
            read_sample(entry)


@pytest.mark.parametrize("kind", ["plain", "hugging face"])
def test_an_image_that_is_said_very_often_is_kept_once(tmp_path: Path, kind: str) -> None:
    """Without that, 50 KB become 2 GB."""
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), pa.array([jpeg() + bytes(1 << 20)]))
    image = values if kind == "plain" else pa.StructArray.from_arrays([values, pa.nulls(2000)], ["bytes", "path"])
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"image": image}), path, dictionary_pagesize_limit=1 << 30)
    entries = list(scan(only(path)).entries)
    assert len(entries) == 2000  # a column may be a dictionary in Arrow, too
    before = pa.total_allocated_bytes()
    assert read_sample(entries[1999]).image == jpeg() + bytes(1 << 20)
    assert pa.total_allocated_bytes() - before < 16 << 20


def test_a_struct_whose_bytes_are_a_struct_holds_no_images(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [{"bytes": {"bytes": jpeg()}}]}), tmp_path / "p.parquet")
    with pytest.raises(ShardError, match="has no column of images"):
        scan(only(tmp_path / "p.parquet"))

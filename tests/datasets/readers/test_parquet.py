"""Parquet files with images."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import jpeg

from diantu.datasets import Reason, ShardError, find_shards, read_sample, scan


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

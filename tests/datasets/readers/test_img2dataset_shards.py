"""Shards as img2dataset writes them: unfinished ones, rows beside a tar, the `files` layout."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import jpeg, write_tar
from scanned import samples

from diantu.datasets import InputError, find_shards


def names(source: Path | str) -> list[str]:
    return [Path(shard.uri).name for shard in find_shards([str(source)])]


def img2dataset_shard(folder: Path, name: str, *, finished: bool = True, with_json: bool = True) -> None:
    """Five rows, two of them failed. The parquet file is in another order than the tar, as after a real download."""
    rows = [
        {
            "key": f"{name}{i:04d}",
            "caption": f"caption {i}",
            "url": f"http://x/{i}",
            "status": "success",
            "punsafe": i / 10,
        }
        for i in range(5)
    ]
    for row in (rows[1], rows[3]):
        row |= {"status": "failed_to_download", "caption": "a failed one"}
    members = []
    for i, row in enumerate(rows):
        if row["status"] == "success":
            members.append((f"{row['key']}.jpg", jpeg(i)))
            members += [(f"{row['key']}.json", json.dumps(row).encode())] if with_json else []
    write_tar(folder / f"{name}.tar", members)
    pq.write_table(pa.Table.from_pylist([rows[i] for i in (4, 1, 0, 3, 2)]), folder / f"{name}.parquet")
    if finished:
        (folder / f"{name}_stats.json").write_text("{}")


def test_unfinished_shards_are_left_out_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, finished in (("99999", True), ("100000", True), ("100001", False)):
        img2dataset_shard(tmp_path, name, finished=finished)
    with caplog.at_level(logging.WARNING):
        for source in (tmp_path, tmp_path / "*.tar", tmp_path / "{99999,100000,100001}.tar"):
            caplog.clear()
            assert names(source) == ["99999.tar", "100000.tar"]
            assert "not finished 1 shards" in caplog.text
            assert "100001.tar" in caplog.text
    with pytest.raises(InputError, match="finished none"):
        find_shards([str(tmp_path / "100001.tar")])


def test_the_parquet_file_is_joined_on_the_key_if_there_is_no_json(tmp_path: Path) -> None:
    img2dataset_shard(tmp_path, "00000", with_json=False)
    found = samples(*find_shards([str(tmp_path)]))
    assert {key: s.caption for key, s in found.items()} == {f"00000{i:04d}": f"caption {i}" for i in (0, 2, 4)}
    assert [s.metadata["punsafe"] for s in found.values()] == [0.0, 0.2, 0.4]


def test_the_files_layout(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder, finished in (("00000", True), ("00001", False)):
        (tmp_path / folder).mkdir()
        for i in range(3):
            (tmp_path / folder / f"{folder}{i}.jpg").write_bytes(jpeg(i))
            (tmp_path / folder / f"{folder}{i}.json").write_text(json.dumps({"caption": f"c{i}", "url": "u"}))
        if finished:
            (tmp_path / f"{folder}_stats.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        found = samples(*find_shards([str(tmp_path)]))
    assert {key: s.caption for key, s in found.items()} == {f"00000/00000{i}": f"c{i}" for i in range(3)}
    assert "not finished 1 folders" in caplog.text

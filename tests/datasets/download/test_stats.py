"""Statistics of shards whose files a kill or a full disk has damaged do not count: the shard is downloaded again."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from diantu.datasets.download.img2dataset import read_stats


def test_a_shard_counts_only_with_both_of_its_files(tmp_path: Path) -> None:
    for number in range(4):
        pq.write_table(pa.table({"key": ["a", "b"]}), tmp_path / f"{number:05d}.parquet")
        (tmp_path / f"{number:05d}_stats.json").write_text(json.dumps({"count": 3, "status_dict": {}}))
    (tmp_path / "00001_stats.json").write_bytes(b'{"count": 3, "stat')
    (tmp_path / "00002.parquet").write_bytes((tmp_path / "00002.parquet").read_bytes()[:-4])
    (tmp_path / "00003.parquet").unlink()
    assert read_stats(tmp_path) == [{"count": 3, "status_dict": {}, "lost": 1}]
    assert [path.name for path in tmp_path.glob("*_stats.json")] == ["00000_stats.json"]

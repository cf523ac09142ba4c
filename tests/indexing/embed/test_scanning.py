"""The process that scans shards for a job with workers: what it logs, what it refuses, and its death."""

from __future__ import annotations

import os
import signal
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from histogram import Histogram
from pictures import jpeg, same_tree, write_tar

from diantu.datasets import find_shards
from diantu.datasets.errors import InputError, JobError
from diantu.datasets.types import Shard
from diantu.indexing.embed import embed


def write_shards(folder: Path, count: int) -> Path:
    folder.mkdir()
    for shard in range(count):
        write_tar(folder / f"{shard:05d}.tar", [(f"{i}.jpg", jpeg(10 * shard + i)) for i in range(3)])
    return folder


def test_what_a_scan_warns_of_is_logged_by_the_job(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = pa.table({"image": [jpeg(0), jpeg(1)], "mask": [b"\0", b"\1"]})
    pq.write_table(table, tmp_path / "a.parquet")
    embed(find_shards(str(tmp_path / "a.parquet")), tmp_path / "g", Histogram(), num_workers=1)
    (warning,) = caplog.records
    assert warning.getMessage() == f"{tmp_path}/a.parquet: columns of bytes are left out: mask"


def test_a_shard_that_no_reader_knows_is_refused(tmp_path: Path) -> None:
    shard = Shard(uri=str(tmp_path / "a.weather"), format="weather", size_bytes=1)
    with pytest.raises(InputError, match="no reader is installed for the shard format 'weather'"):
        embed([shard], tmp_path / "g", Histogram(), num_workers=1)


class Killing(Histogram):
    """Kills the process that scans, which is the first one of the job, at the first batch."""

    has_killed = False

    def encode_images(self, pixels_BCHW: torch.Tensor) -> np.ndarray:
        if not self.has_killed:
            server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
            children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
            os.kill(min(map(int, children)), signal.SIGKILL)
            self.has_killed = True
        return super().encode_images(pixels_BCHW)


def test_the_death_of_the_process_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    shards = find_shards(str(write_shards(tmp_path / "s", 20)))
    with pytest.raises(JobError, match=r"the process that scans shards died \(exit code -9\)"):
        embed(shards, tmp_path / "g", Killing(), num_workers=1)
    embed(shards, tmp_path / "g", Histogram(), num_workers=1)
    embed(shards, tmp_path / "whole", Histogram())
    assert same_tree(tmp_path / "g", tmp_path / "whole")

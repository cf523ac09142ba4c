"""A job that is killed at any instant and started again ends with the bytes of one that was not.

`DIANTU_KILLS=30` kills it as often; the suite does it less often.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pictures import same_tree, write_tar
from zygote import Job, Zygote, zygote

from diantu.datasets import photos

ROUNDS = int(os.environ.get("DIANTU_KILLS", "4"))
SHARDS = 8


def pack(folder: Path) -> Path:
    """Shards of 80 photographs each, one of them mostly broken, one no tar at all."""
    names = sorted(photos.rows())
    for shard in range(SHARDS):
        chosen = [names[(80 * shard + i) % len(names)] for i in range(80)]
        members = [(f"{i:04d}.jpg", (photos.FOLDER / name).read_bytes()) for i, name in enumerate(chosen)]
        write_tar(folder / f"{shard:05d}.tar", members)
    write_tar(folder / "00003.tar", [("a.jpg", b"broken"), ("b.txt", b"no picture")])
    (folder / "00005.tar").write_bytes(b"no tar at all")
    return folder


def num_done(gallery: Path) -> int:
    return len(list((gallery / "parts").glob("*.json")))


@pytest.fixture(scope="module")
def jobs() -> Iterator[Zygote]:
    with zygote() as serving:
        yield serving


@pytest.mark.slow
def test_kill_at_random_instants(tmp_path: Path, clip_folder: Path, jobs: Zygote) -> None:
    source = pack(tmp_path / "shards")

    def start(gallery: Path, workers: int) -> Job:
        options = ["--encoder", f"hf:{clip_folder}", "--batch-size", "8", "--num-workers", str(workers)]
        return jobs.start("embed", "--source", source, "--output", gallery, *options)

    assert start(tmp_path / "whole", 0).wait() == 1  # one shard is no tar
    rng = random.Random(0)
    interrupted = 0
    for round_ in range(ROUNDS):
        gallery = tmp_path / f"killed{round_ // 2}"  # every gallery is killed twice before it is finished
        job = start(gallery, workers=round_ % 2)
        # A random amount of work after the part at which the job stands, so that kills fall everywhere in it.
        target = rng.randint(min(num_done(gallery), SHARDS - 1), SHARDS - 1)
        while not (gallery / "ledger.jsonl").exists() or num_done(gallery) < target:
            assert job.poll() is None, "the job ended by itself"
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.3))
        job.send_signal(signal.SIGKILL)
        job.wait()
        interrupted += num_done(gallery) < SHARDS
        if round_ % 2:
            assert start(gallery, workers=0).wait() == 1
            assert same_tree(gallery, tmp_path / "whole")
    assert interrupted >= ROUNDS // 2, "the jobs were over before they were killed: the test says nothing"

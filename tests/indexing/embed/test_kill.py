"""A job that is killed at any moment and started again writes the same bytes as one that was not.

`DIANTU_KILLS=30` kills it 30 times; by default it is killed twice.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from pictures import same_tree, write_tar
from zygote import Job, Zygote, num_parts, wait_for_parts

from diantu.datasets import photos

ROUNDS = int(os.environ.get("DIANTU_KILLS", "2"))
SHARDS, IMAGES = 8, 20


def pack(folder: Path) -> Path:
    """Shards of 20 photographs each; one shard has no readable image, one file is not a tar."""
    names = sorted(photos.rows())
    for shard in range(SHARDS):
        chosen = [names[(IMAGES * shard + i) % len(names)] for i in range(IMAGES)]
        members = [(f"{i:04d}.jpg", (photos.FOLDER / name).read_bytes()) for i, name in enumerate(chosen)]
        write_tar(folder / f"{shard:05d}.tar", members)
    write_tar(folder / "00003.tar", [("a.jpg", b"broken"), ("b.txt", b"no picture")])
    (folder / "00005.tar").write_bytes(b"no tar at all")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(300 + 60 * ROUNDS)
def test_kill_at_random_instants(tmp_path: Path, jobs: Zygote) -> None:
    source = pack(tmp_path / "shards")

    def start(gallery: Path, workers: int) -> Job:
        options = ["--encoder", "histogram", "--batch-size", "8", "--num-workers", str(workers)]
        return jobs.start("embed", "--source", source, "--output", gallery, *options)

    assert start(tmp_path / "whole", 0).wait() == 1  # one file is not a tar
    rng = random.Random(0)
    interrupted = 0
    for round_ in range(ROUNDS):
        gallery = tmp_path / f"killed{round_ // 2}"  # every gallery is killed twice before it is finished
        job = start(gallery, workers=round_ % 2)
        # The job is killed after a random further number of parts, and at a random moment within one of the next.
        target = rng.randint(min(num_parts(gallery), SHARDS - 2), SHARDS - 2)
        wait_for_parts(job, gallery, target)
        assert job.poll() is None, "the job ended by itself"
        time.sleep(rng.uniform(0, 0.02))  # a part takes about so long
        job.send_signal(signal.SIGKILL)
        job.wait()
        interrupted += num_parts(gallery) < SHARDS
        if round_ % 2:
            assert start(gallery, workers=0).wait() == 1
            assert same_tree(gallery, tmp_path / "whole")
    assert interrupted >= ROUNDS // 2, "the jobs were over before they were killed: the test says nothing"

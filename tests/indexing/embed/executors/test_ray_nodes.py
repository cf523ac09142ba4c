"""Jobs on a Ray cluster whose nodes join, leave and are killed; what is refused; and what is left behind.

`DIANTU_RAY_ROUNDS=20` lets nodes come and go 20 times; by default once. `DIANTU_RAY_SHARDS=2000` is the job of
thousands of shards, during which a node is killed every ten seconds; by default it is left out.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from histogram import FATAL, Histogram
from pictures import encoded, jpeg, same_tree, write_tar
from PIL import Image
from zygote import Job, Zygote, num_parts, wait_for_parts, wait_until

from diantu.datasets import InputError, find_shards
from diantu.indexing.embed import embed
from diantu.indexing.embed.executors import ray_cluster
from diantu.indexing.store.ledger import Ledger
from diantu.indexing.store.manifest import open_or_create
from diantu.indexing.store.verify import verify_gallery

pytest.importorskip("ray")

if TYPE_CHECKING:
    from ray_nodes import Nodes

log = logging.getLogger(__name__)

ROUNDS = int(os.environ.get("DIANTU_RAY_ROUNDS", "1"))
NUM_SHARDS = int(os.environ.get("DIANTU_RAY_SHARDS", "0"))
KILL_SECONDS = float(os.environ.get("DIANTU_RAY_KILL_SECONDS", "10"))


def start(jobs: Zygote, source: Path, gallery: Path, *options: str) -> Job:
    fixed = ("--encoder", "histogram", "--batch-size", "4", "--executor", "ray")
    return jobs.start("embed", "--source", source, "--output", gallery, *fixed, *options)


def pack(folder: Path, num_shards: int, num_images: int) -> Path:
    for shard in range(num_shards):
        members = [(f"{i:03d}.jpg", jpeg(num_images * shard + i, (40, 30))) for i in range(num_images)]
        write_tar(folder / f"{shard:05d}.tar", members)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(300 + 60 * ROUNDS)
def test_nodes_come_and_go(cluster: Nodes, tmp_path: Path, jobs: Zygote) -> None:
    """In each round a node joins, gets an actor, and a node is killed or leaves in order."""
    rng = random.Random(ROUNDS)
    source = pack(tmp_path / "s", 30 * ROUNDS, 40)
    job = start(jobs, source, tmp_path / "g", "--address", cluster.address)
    for number in range(ROUNDS):
        wait_for_parts(job, tmp_path / "g", num_parts(tmp_path / "g") + 1)
        cluster.add(num_cpus=2)
        wait_until(lambda: len(cluster.actors()) == 2, "an actor on the node that has joined", pause=0.1)
        assert job.poll() is None, job.stderr()
        end = (cluster.kill, cluster.remove)[number % 2]
        end(rng.choice(cluster.running))
    assert job.wait() == 0, job.stderr()
    assert "have joined" in job.stderr()
    assert "Traceback" not in job.stderr()
    embed(find_shards(str(source)), tmp_path / "whole", Histogram(), batch_size=4)
    assert same_tree(tmp_path / "g", tmp_path / "whole")
    assert not verify_gallery(tmp_path / "g").sentences


@pytest.mark.slow
def test_a_shard_over_which_every_actor_dies_is_given_up(
    cluster: Nodes, source: Path, tmp_path: Path, jobs: Zygote
) -> None:
    (tmp_path / "s").mkdir()
    for name in ("00000", "00001", "00003"):
        shutil.copy(source / f"{name}.tar", tmp_path / "s")
    write_tar(tmp_path / "s" / "00002.tar", [("w.png", encoded(Image.new("RGB", (64, 64), FATAL), "PNG"))])
    job = start(jobs, tmp_path / "s", tmp_path / "g", "--address", cluster.address, "--num-processes", "2")
    assert job.wait() == 1, job.stderr()
    assert "00002.tar: 3 embedding processes died over it (on 127.0.0.1: " in job.stderr()
    assert [part.num_rows for part in Ledger(tmp_path / "g").progress().parts] == [10, 10, 0, 10]
    assert not verify_gallery(tmp_path / "g").sentences
    assert not (tmp_path / "g" / "attempts").exists()


@pytest.mark.slow
def test_actors_end_with_the_job(cluster: Nodes, tmp_path: Path, jobs: Zygote) -> None:
    job = start(jobs, pack(tmp_path / "s", 40, 40), tmp_path / "g", "--address", cluster.address)
    wait_for_parts(job, tmp_path / "g", 1)
    assert job.poll() is None, job.stderr()
    job.send_signal(signal.SIGINT)
    assert job.wait() == 130, job.stderr()
    wait_until(lambda: not cluster.actors(), "the end of the actors", pause=0.1)


@pytest.mark.slow
def test_a_ray_of_ones_own_ends_with_the_job(source: Path, whole: Path, tmp_path: Path, jobs: Zygote) -> None:
    job = start(jobs, source, tmp_path / "g", "--num-processes", "1")
    wait_for_parts(job, tmp_path / "g", 1)
    mine = descendants(job.pid)
    assert len(mine) >= 4, "Ray's processes and an actor"
    assert job.poll() is None, job.stderr()
    job.send_signal(signal.SIGTERM)
    assert job.wait() == 143, job.stderr()
    assert job.stderr().splitlines()[-1] == "diantu: stopped; run the same command again to continue"
    wait_until(lambda: not any(map(is_alive, mine)), "the end of Ray", pause=0.05)
    embed(find_shards(str(source)), tmp_path / "g", Histogram(), batch_size=4)
    assert same_tree(tmp_path / "g", whole)


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_node_that_sees_another_folder_is_refused(
    cluster: Nodes, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gallery's path goes through an open file of this process, so in another process it leads nowhere."""
    monkeypatch.setattr(ray_cluster, "_LOOK_SECONDS", 0.5)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        os.dup2(descriptor, 200)
        gallery = Path("/proc/self/fd/200/g")
        with ray_cluster.RayCluster(["histogram"], address=cluster.address, num_processes=1) as executor:
            open_or_create(gallery, executor.specs, texts=False)
            tasks = Ledger(gallery).assign(find_shards(str(source)))
            with pytest.raises(InputError, match=r"node 127\.0\.0\.1 of the Ray cluster does not see /proc/self/"):
                list(executor.run(tasks, gallery))
    finally:
        os.close(200)
        os.close(descriptor)


@pytest.mark.skipif(not NUM_SHARDS, reason="takes minutes; set DIANTU_RAY_SHARDS=2000")
@pytest.mark.timeout(3600)
def test_thousands_of_shards_while_a_node_is_killed_every_ten_seconds(tmp_path: Path, jobs: Zygote) -> None:
    from ray_nodes import ray_nodes

    source = pack(tmp_path / "s", NUM_SHARDS, 4)
    rng = random.Random(1)
    num_killed = 0
    # Six nodes at first, so that the processors are not busy with starting new ones alone.
    with ray_nodes() as nodes:
        for _ in range(6):
            nodes.add()
        job = start(jobs, source, tmp_path / "g", "--address", nodes.address)
        wait_for_parts(job, tmp_path / "g", 1)
        started = time.monotonic()
        while job.poll() is None:
            nodes.kill(rng.choice(nodes.running))
            num_killed += 1
            next_at = time.monotonic() + KILL_SECONDS
            if len(nodes.running) < 3:
                nodes.add()
            while job.poll() is None and time.monotonic() < next_at:
                time.sleep(0.1)
        seconds = time.monotonic() - started
    assert job.wait() == 0, job.stderr()
    embed(find_shards(str(source)), tmp_path / "whole", Histogram(), batch_size=4)
    assert same_tree(tmp_path / "g", tmp_path / "whole")
    assert not verify_gallery(tmp_path / "g").sentences
    log.info("%d shards in %.0f s, %d nodes killed; %s", NUM_SHARDS, seconds, num_killed, job.stderr().splitlines()[-1])

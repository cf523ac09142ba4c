"""What every executor promises: all jobs end once, in any order, with the bytes that one process writes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest
from pictures import same_tree
from zygote import wait_until

from diantu.datasets import find_shards
from diantu.indexing.embed import Broken, Event, Executor, ShardJob, Written, embed_with
from diantu.indexing.store.attempts import accept, remove_attempts
from diantu.indexing.store.ledger import Ledger
from diantu.indexing.store.manifest import open_or_create
from diantu.indexing.store.verify import verify_gallery

sys.path.insert(0, str(Path(__file__).parent))

from contract import EXECUTORS, Made

NUM_IMAGES, NUM_FAILED = 98, 10  # of the nine shards that can be read


@pytest.fixture(scope="module", params=EXECUTORS)
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    """One executor of each kind; it runs the jobs of all tests, one after the other."""
    with EXECUTORS[request.param](request) as made:
        yield made


@pytest.fixture
def executor(made: Made) -> Executor:
    return made[0]


def begin(executor: Executor, source: Path, gallery: Path) -> list[ShardJob]:
    """Makes a gallery without parts, and returns its jobs."""
    open_or_create(gallery, executor.specs, texts=executor.texts)
    return Ledger(gallery).assign(find_shards(str(source)))


def ends(events: Sequence[Event]) -> list[Written | Broken]:
    return [event for event in events if isinstance(event, Written | Broken)]


def test_it_says_what_the_encoder_is(executor: Executor) -> None:
    assert [spec.name for spec in executor.specs] == ["histogram"]
    assert executor.encodes_texts
    assert not executor.texts


def test_every_job_ends_once(executor: Executor, source: Path, tmp_path: Path) -> None:
    jobs = begin(executor, source, tmp_path / "g")
    ended = ends(list(executor.run(jobs, tmp_path / "g")))
    assert Counter(event.job.key for event in ended) == Counter(job.key for job in jobs)
    assert [event.job.part for event in ended if isinstance(event, Broken)] == [4]
    assert sum(event.num_rows for event in ended if isinstance(event, Written)) == NUM_IMAGES
    assert not (tmp_path / "g" / "parts").exists()  # only who holds the lock writes there


def test_the_bytes_are_those_of_one_process(executor: Executor, source: Path, whole: Path, tmp_path: Path) -> None:
    summary = embed_with(executor, find_shards(str(source)), tmp_path / "g")
    assert (summary.num_images, summary.num_failed, len(summary.quarantined)) == (NUM_IMAGES, NUM_FAILED, 1)
    assert same_tree(tmp_path / "g", whole)
    assert not verify_gallery(tmp_path / "g").sentences


def test_the_order_of_jobs_does_not_matter(executor: Executor, source: Path, whole: Path, tmp_path: Path) -> None:
    """Not even to whether what a job wrote can be accepted."""
    gallery = tmp_path / "g"
    jobs = begin(executor, source, gallery)
    for event in ends(list(executor.run(jobs[::-1], gallery))):
        if isinstance(event, Written):
            assert accept(gallery, event.job.part, event.attempt)
    embed_with(executor, find_shards(str(source)), gallery)  # the broken shard
    assert same_tree(gallery, whole)


def test_a_job_that_is_run_again_writes_another_attempt(executor: Executor, source: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "g"
    jobs = begin(executor, source, gallery)[:2]
    first, second = (ends(list(executor.run(jobs, gallery))) for _ in range(2))
    assert len({event.attempt for event in (*first, *second) if isinstance(event, Written)}) == 4
    for event in first:
        assert accept(gallery, event.job.part, event.attempt)
    again = ends(list(executor.run(jobs, gallery)))
    assert [accept(gallery, event.job.part, event.attempt) for event in again] == [False, False]
    remove_attempts(gallery)
    assert sorted(path.name for path in (gallery / "parts").iterdir()) == ["00000.json", "00001.json"]


def test_a_run_that_is_stopped_is_continued(executor: Executor, source: Path, whole: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "g"
    jobs = begin(executor, source, gallery)
    events = executor.run(jobs, gallery)
    next(event for event in events if isinstance(event, Written))
    events.close()
    embed_with(executor, find_shards(str(source)), gallery)
    assert same_tree(gallery, whole)


def test_a_shard_that_comes_back_is_embedded(executor: Executor, source: Path, tmp_path: Path) -> None:
    """Nothing of it is remembered by processes that have seen it broken."""
    copy = shutil.copytree(source, tmp_path / "s")
    (copy / "00009.tar").write_bytes(b"no tar either")
    assert len(embed_with(executor, find_shards(str(copy)), tmp_path / "g").quarantined) == 2
    shutil.copy(source / "00009.tar", copy)
    summary = embed_with(executor, find_shards(str(copy)), tmp_path / "g")
    assert (summary.num_images, len(summary.quarantined)) == (12, 1)


class Killing:
    """Kills one of an executor's processes after the first shard, in the middle of another one."""

    def __init__(self, made: Made) -> None:
        self._executor, self._processes = made
        self.specs, self.encodes_texts, self.texts = made[0].specs, made[0].encodes_texts, made[0].texts
        self.num_killed = 0

    def run(self, jobs: Sequence[ShardJob], gallery: Path) -> Generator[Event, None, None]:
        for event in self._executor.run(jobs, gallery):
            yield event
            if isinstance(event, Written) and self.num_killed < 2:
                wait_until(self._processes, "a process to kill", pause=0.05)
                os.kill(self._processes()[0], signal.SIGKILL)
                self.num_killed += 1


def test_a_process_that_dies_costs_nothing(made: Made, source: Path, whole: Path, tmp_path: Path) -> None:
    if made[1] is list:
        pytest.skip("test_kill.py and test_slurm.py kill its processes")
    killing = Killing(made)
    summary = embed_with(killing, find_shards(str(source)), tmp_path / "g")
    assert killing.num_killed == 2
    assert (summary.num_images, summary.num_failed, len(summary.quarantined)) == (NUM_IMAGES, NUM_FAILED, 1)
    assert same_tree(tmp_path / "g", whole)

"""Attempts at a part: the first complete one is accepted, and no other one can do harm."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from histogram import Histogram
from pictures import jpeg, same_tree, write_tar

from diantu.datasets import InputError, find_shards
from diantu.indexing.embed import Broken, Event, InProcess, LoopSettings, ShardJob, Written, embed, embed_with
from diantu.indexing.store.attempts import accept
from diantu.indexing.store.ledger import Ledger
from diantu.indexing.store.verify import verify_gallery


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three shards of four images."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for shard in range(3):
        write_tar(folder / f"{shard:05d}.tar", [(f"{i}.jpg", jpeg(10 * shard + i, (40, 30))) for i in range(4)])
    return folder


@pytest.fixture
def whole(source: Path, tmp_path: Path) -> Path:
    """What a job writes that tries each shard once."""
    embed(find_shards(str(source)), tmp_path / "whole", Histogram())
    return tmp_path / "whole"


class Twice(InProcess):
    """Tries each shard twice, and reports both attempts at the end."""

    def run(self, jobs: Sequence[ShardJob], gallery: Path) -> Generator[Event, None, None]:
        """See `Executor`."""
        events = [event for _ in range(2) for event in super(Twice, self).run(jobs, gallery)]
        self.attempts = [event for event in events if isinstance(event, Written)]
        yield from events
        for event in self.attempts:  # a third one comes too late, and failed
            yield Broken(job=event.job, reason="it was too slow", may_pass=True)


def test_of_two_attempts_the_first_counts(source: Path, whole: Path, tmp_path: Path) -> None:
    executor = Twice([Histogram()], LoopSettings())
    summary = embed_with(executor, find_shards(str(source)), tmp_path / "g")
    assert len({event.attempt for event in executor.attempts}) == 6
    assert (summary.num_images, summary.num_failed, summary.quarantined) == (12, 0, ())
    assert same_tree(tmp_path / "g", whole)


class Zombie(InProcess):
    """Goes on writing to its attempts after they were accepted."""

    def run(self, jobs: Sequence[ShardJob], gallery: Path) -> Generator[Event, None, None]:
        """See `Executor`."""
        for event in super().run(jobs, gallery):
            yield event
            if isinstance(event, Written):
                for name in ("img_emb/img_emb", "metadata/metadata"):
                    path = gallery / event.attempt / f"{name}_{event.job.part:05d}.npy"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(b"wrong")


def test_a_worker_that_was_given_up_can_do_no_harm(source: Path, whole: Path, tmp_path: Path) -> None:
    embed_with(Zombie([Histogram()], LoopSettings()), find_shards(str(source)), tmp_path / "g")
    assert same_tree(tmp_path / "g", whole)
    assert not verify_gallery(tmp_path / "g").sentences


class Interrupted(InProcess):
    """Stops before an attempt is accepted."""

    def run(self, jobs: Sequence[ShardJob], gallery: Path) -> Generator[Event, None, None]:
        """See `Executor`."""
        for event in super().run(jobs, gallery):
            if isinstance(event, Written) and event.job.part == 1:
                raise RuntimeError("stopped")
            yield event


def test_an_attempt_that_was_not_accepted_is_no_part(source: Path, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        embed_with(Interrupted([Histogram()], LoopSettings()), find_shards(str(source)), tmp_path / "g")
    assert list((tmp_path / "g" / "attempts").glob("00001/*/parts/00001.json"))
    assert len(Ledger(tmp_path / "g").progress().parts) == 1
    embed(find_shards(str(source)), tmp_path / "g", Histogram())
    assert same_tree(tmp_path / "g", whole)


def test_an_incomplete_attempt_is_refused(whole: Path) -> None:
    (whole / "attempts" / "00003" / "x" / "img_emb").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no complete attempt at part 00003"):
        accept(whole, 3, "attempts/00003/x")


def test_a_part_is_rebuilt_with_its_vectors_of_further_spaces(source: Path, tmp_path: Path) -> None:
    class Other(Histogram):
        def __init__(self) -> None:
            super().__init__()
            self.spec = replace(self.spec, name="other")

    both = [Histogram(), Other()]
    embed(find_shards(str(source)), tmp_path / "whole", both)
    embed(find_shards(str(source)), tmp_path / "g", both)
    for name in ("parts/00001.json", "img_emb/img_emb_00001.npy", "spaces/other/img_emb/img_emb_00001.npy"):
        (tmp_path / "g" / name).unlink()
    embed(find_shards(str(source)), tmp_path / "g", both)
    assert same_tree(tmp_path / "g", tmp_path / "whole")

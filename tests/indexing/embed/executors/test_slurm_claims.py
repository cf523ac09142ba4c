"""Claims and leases, without SLURM: tasks race for jobs, die, come back, and live on without their lease."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from diantu.indexing.embed.executors.slurm.beats import Beats, Owner, owners
from diantu.indexing.embed.executors.slurm.claims import MOST_DEATHS, MOST_STARTS, Claims, claimed, is_given_up

LEASE = 0.3  # seconds
NUM_JOBS = 300


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("beats", "claims", "ended"):
        (tmp_path / name).mkdir()
    return tmp_path


@contextmanager
def task(folder: Path, name: str, *, num_jobs: int = 3) -> Iterator[Claims]:
    """One start of a task that renews its lease."""
    with Beats(folder / "beats", Owner.of(name), lease_seconds=LEASE) as beats:
        yield Claims(folder / "claims", folder / "ended", num_jobs, beats)


def claim_all(folder: Path, name: str, start: int) -> None:
    with task(folder, name, num_jobs=NUM_JOBS) as claims:
        (folder / f"{name}.txt").write_text(" ".join(map(str, claims.fresh(start))))


@pytest.mark.parametrize("starts", [(0, 0, 0), (0, 100, 200)])
def test_tasks_that_race_claim_every_job_once(folder: Path, starts: tuple[int, ...]) -> None:
    context = multiprocessing.get_context("fork")
    racing = [context.Process(target=claim_all, args=(folder, f"1_{i}.0", start)) for i, start in enumerate(starts)]
    for process in racing:
        process.start()
    for process in racing:
        process.join()
    got = [int(index) for path in folder.glob("*.txt") for index in path.read_text().split()]
    assert sorted(got) == list(range(NUM_JOBS))


def test_a_job_of_a_living_task_is_left_alone(folder: Path) -> None:
    with task(folder, "1_0.0") as one, task(folder, "1_1.0") as other:
        assert list(one.fresh()) == [0, 1, 2]
        time.sleep(2 * LEASE)  # the lease is renewed
        assert list(other.fresh()) == []
        assert other.orphan() is None


def test_the_jobs_of_a_task_whose_lease_expired_are_claimed_one_by_one(folder: Path) -> None:
    with task(folder, "1_1.0") as other:
        with task(folder, "1_0.0") as dead:
            assert list(dead.fresh()) == [0, 1, 2]
        assert other.orphan() is None  # not yet
        time.sleep(2 * LEASE)
        assert [other.orphan(), other.orphan(), other.orphan(), other.orphan()] == [0, 1, 2, None]
        (folder / "ended" / "1.json").touch()
        assert claimed(folder / "claims") == {0: [0, 1], 1: [0, 1], 2: [0, 1]}


def test_a_task_that_is_started_again_takes_its_jobs_at_once(folder: Path) -> None:
    with task(folder, "1_0.0") as first, task(folder, "1_0.1") as again:
        assert list(first.fresh()) == [0, 1, 2]
        assert again.orphan() == 0


def test_the_tasks_of_an_earlier_array_have_ended(folder: Path) -> None:
    with task(folder, "1_0.0") as first, task(folder, "2_0.0") as later:
        assert list(first.fresh()) == [0, 1, 2]
        assert later.orphan() == 0


def test_what_is_given_back_was_never_begun(folder: Path) -> None:
    with task(folder, "1_0.0") as one, task(folder, "1_1.0") as other:
        fresh = one.fresh()
        assert [next(fresh), next(fresh)] == [0, 1]
        one.finished(0)
        one.release()
        assert claimed(folder / "claims") == {0: [0]}
        assert list(other.fresh()) == [1, 2]


def test_a_task_without_its_lease_takes_nothing_from_others(folder: Path) -> None:
    """It still runs, and even gives back what it had; the claim of its successor stays."""
    with task(folder, "1_1.0", num_jobs=1) as other:
        with task(folder, "1_0.0", num_jobs=1) as zombie:
            assert list(zombie.fresh()) == [0]
        time.sleep(2 * LEASE)
        assert other.orphan() == 0
        assert zombie.orphan() is None
        zombie.release()
        assert claimed(folder / "claims") == {0: [1]}
        with task(folder, "1_2.0", num_jobs=1) as third:
            assert list(third.fresh()) == []
            assert third.orphan() is None


def test_a_job_that_ended_is_not_begun_again(folder: Path) -> None:
    with task(folder, "1_0.0") as one, task(folder, "2_0.0") as later:
        assert list(one.fresh()) == [0, 1, 2]
        (folder / "ended" / "0.json").touch()
        (folder / "ended" / ".1_0.0").touch()  # what a killed task left
        assert later.orphan() == 1


def test_a_job_over_which_tasks_die_is_given_up(folder: Path) -> None:
    with ExitStack() as stack:
        for array in range(1, MOST_DEATHS + 1):
            claims = stack.enter_context(task(folder, f"{array}_0.0", num_jobs=1))
            assert claims.orphan() == 0
        assert stack.enter_context(task(folder, "9_0.0", num_jobs=1)).orphan() is None


def test_a_task_that_slurm_started_again_blames_its_jobs_less() -> None:
    restarted = [Owner("1", 0, restart) for restart in range(MOST_STARTS)]
    assert not is_given_up(restarted[:-1], restarted)
    assert is_given_up(restarted, [*restarted, Owner("1", 0, MOST_STARTS)])
    assert is_given_up([Owner("1", number, 0) for number in range(MOST_DEATHS)], [])


def test_a_task_whose_submission_is_over_notices(folder: Path) -> None:
    with Beats(folder / "beats", Owner.of("1_0.0"), lease_seconds=LEASE) as beats:
        assert owners(folder / "beats") == [Owner("1", 0, 0)]
        (folder / "beats" / "1_0.0").unlink()
        (folder / "beats").rmdir()
        deadline = time.monotonic() + 30
        while not beats.is_lost and time.monotonic() < deadline:
            time.sleep(LEASE / 10)
        assert beats.is_lost

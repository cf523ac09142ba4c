"""Who gets which job, and what the death of a process or of its machine means for the jobs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from diantu.datasets import Shard
from diantu.datasets.errors import JobError
from diantu.indexing.embed import Broken, Encoded, Event, ShardJob, Written
from diantu.indexing.embed.executors.messages import Job, NoMore, RoundOver, Taken
from diantu.indexing.embed.executors.rounds import Assignments

GALLERY = Path("g")
JOBS = [ShardJob(part=i, shard=Shard(uri=f"/{i}.tar", format="webdataset", size_bytes=1)) for i in range(30)]


def told(assignments: Assignments, number: int) -> list[object]:
    """What a process is sent, with the numbers of parts in place of jobs."""
    return [each.job.part if isinstance(each, Job) else each for each in assignments.messages(number, GALLERY)]


def begin(assignments: Assignments, number: int) -> None:
    """A process takes the job that waits in it."""
    assert not list(assignments.heard(number, Taken()))


def written(part: int) -> Written:
    return Written(job=JOBS[part], attempt=f"attempts/{part}", num_rows=1, num_failed=0)


def broken(part: int) -> Broken:
    return Broken(job=JOBS[part], reason="no tar", may_pass=True)


def numbers(events: Iterable[Event]) -> list[int]:
    return [event.job.part for event in events if isinstance(event, Written | Broken)]


def test_a_process_has_one_job_that_waits_beside_those_that_it_has_begun() -> None:
    assignments = Assignments(JOBS[:3])
    assert told(assignments, 0) == [GALLERY, 0]
    assert told(assignments, 0) == []
    begin(assignments, 0)
    assert told(assignments, 0) == [1]
    assert told(assignments, 1) == [GALLERY, 2]
    begin(assignments, 0)
    assert isinstance(told(assignments, 0)[0], NoMore)
    assert not assignments.have_ended


def test_a_job_that_is_there_twice_ends_once() -> None:
    assignments = Assignments([JOBS[0], JOBS[0]])
    assert told(assignments, 0) == [GALLERY, 0]
    begin(assignments, 0)
    assert numbers(assignments.heard(0, written(0))) == [0]
    assert assignments.have_ended
    assert not assignments.is_done  # the process has not said that its round is over
    assert not list(assignments.heard(0, RoundOver()))
    assert assignments.is_done


def test_a_job_over_which_processes_die_is_alone_and_then_given_up() -> None:
    assignments = Assignments(JOBS[:2])
    assert told(assignments, 0) == [GALLERY, 0]
    begin(assignments, 0)
    assert told(assignments, 0) == [1]
    for number in (0, 1):
        assert not list(assignments.died(number, "exit code -9"))
        assert told(assignments, number + 1) == [GALLERY, 0]
        begin(assignments, number + 1)
        assert isinstance(told(assignments, number + 1)[0], NoMore)  # the job that waited is not given beside it
    (given_up,) = assignments.died(2, "exit code -9")
    assert isinstance(given_up, Broken)
    assert given_up.reason == "/0.tar: 3 embedding processes died over it (exit code -9)"
    assert told(assignments, 3) == [GALLERY, 1]


def test_processes_that_die_in_a_row_end_the_job() -> None:
    assignments = Assignments(JOBS)
    for number in range(5):
        list(assignments.died(number, "exit code 1"))
    with pytest.raises(JobError, match=r"6 embedding processes died in a row \(exit code 1\)"):
        list(assignments.died(5, "exit code 1"))


def test_machines_that_are_lost_are_no_jobs_fault() -> None:
    """A node that dies every few seconds: each time another job is lost, and some have ended in between."""
    assignments = Assignments(JOBS)
    for number in range(25):
        assert told(assignments, number)[:2] == [GALLERY, number]
        begin(assignments, number)
        assert not list(assignments.lost(number, "a has gone"))
        assert told(assignments, 100 + number)[1] == number  # at once, and not alone
        begin(assignments, 100 + number)
        assert numbers(assignments.heard(100 + number, written(number))) == [number]
        list(assignments.lost(100 + number, "b has gone"))


def test_a_job_over_which_machine_after_machine_is_lost_is_blamed_in_the_end() -> None:
    assignments = Assignments(JOBS)
    events: list[Event] = []
    for number in range(12):
        assert told(assignments, 2 * number + 1)[1] == 0
        begin(assignments, 2 * number + 1)
        assert told(assignments, 2 * number)[1] == number + 1
        begin(assignments, 2 * number)
        assert numbers(assignments.heard(2 * number, written(number + 1))) == [number + 1]
        events += assignments.lost(2 * number + 1, "it has gone")
        events += assignments.lost(2 * number, "it has gone")
    assert numbers(events) == [0]


def test_machines_that_are_lost_without_any_progress_end_the_job() -> None:
    assignments = Assignments(JOBS)
    for number in range(9):
        told(assignments, number)
        begin(assignments, number)
        assert not list(assignments.lost(number, "it has gone"))
    told(assignments, 9)
    begin(assignments, 9)
    with pytest.raises(JobError, match="10 machines were lost in a row, and no shard was finished"):
        list(assignments.lost(9, "it has gone"))


class TestSecondAttempts:
    @pytest.fixture
    def assignments(self) -> Assignments:
        """Process 0 works on job 0 while job 1 waits in it; process 1 works on job 2; there is no other job."""
        assignments = Assignments(JOBS[:3], second_attempts=True)
        told(assignments, 0)
        begin(assignments, 0)
        told(assignments, 0)
        told(assignments, 1)
        begin(assignments, 1)
        told(assignments, 1)
        return assignments

    def test_first_what_nobody_has_begun_then_what_was_begun_first(self, assignments: Assignments) -> None:
        assert told(assignments, 2)[:2] == [GALLERY, 1]
        assert told(assignments, 3)[:2] == [GALLERY, 0]
        assert told(assignments, 4)[:2] == [GALLERY, 2]
        assert told(assignments, 5) == []  # no job is tried by three at the same time

    def test_the_first_attempt_that_is_complete_counts(self, assignments: Assignments) -> None:
        told(assignments, 2)
        begin(assignments, 2)
        assert not list(assignments.heard(2, Encoded(num_images=1, num_failed=0)))  # it would be counted twice
        assert numbers(assignments.heard(2, written(1))) == [1]
        assert assignments.is_late(0)
        assert numbers(assignments.heard(0, written(1))) == []
        assert not assignments.is_late(0)

    def test_a_shard_is_broken_only_if_no_other_attempt_is_left(self, assignments: Assignments) -> None:
        told(assignments, 2)
        begin(assignments, 2)
        assert numbers(assignments.heard(2, broken(1))) == []
        assert numbers(assignments.heard(0, broken(1))) == [1]

    def test_a_death_does_not_return_what_another_process_still_has(self, assignments: Assignments) -> None:
        told(assignments, 2)
        begin(assignments, 2)
        assert not list(assignments.died(2, "exit code -9"))
        assert told(assignments, 3)[:2] == [GALLERY, 1]  # a second attempt again, not a suspect
        list(assignments.lost(3, "it has gone"))
        list(assignments.lost(0, "it has gone"))
        assert [told(assignments, number)[1] for number in (4, 5)] == [0, 1]

    def test_what_is_still_busy_when_all_jobs_have_ended_is_known(self, assignments: Assignments) -> None:
        for number, part in ((1, 2), (0, 0), (0, 1)):
            assert numbers(assignments.heard(number, written(part))) == [part]
        assert assignments.have_ended
        assert assignments.busy == [0, 1]

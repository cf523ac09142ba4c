"""Which job is given to which process, and to which other one if that process dies or is slow."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ....datasets.errors import JobError
from ...store.ledger import ShardJob
from ..events import Broken, Event, Written
from .messages import Job, NoMore, RoundOver, Taken

# Jobs that wait in a process beside those that it has begun, so that it never waits for the parent.
_AHEAD = 1
# A job that was being worked on when so many processes died is given up; from its second try on it is alone, so that
# no other job is blamed.
_MOST_DEATHS = 3
# So many processes that die without any job ended in between are no job's fault.
_MOST_IN_A_ROW = 6
# A machine that is gone says little about the jobs it had, because machines are preempted and restarted. Only a job
# that so many machines were lost over is blamed for the next ones: it may use up all the memory of a container.
_MOST_LOSSES = 10
# Attempts at one job at the same time.
_MOST_AT_ONCE = 2

_Key = tuple[int, tuple[str, ...]]


@dataclass(slots=True)
class _Process:
    """What a process has: jobs that were sent to it and have not ended, and how many of them it has not begun."""

    given: dict[_Key, ShardJob] = field(default_factory=dict)
    begun_at: dict[_Key, float] = field(default_factory=dict)
    num_waiting: int = 0
    in_round: bool = False
    is_closed: bool = False  # it was told that there are no more jobs in its round
    has_one_job: bool = False  # one that was there when another process died, or a second attempt
    is_second: bool = False  # the job is being tried elsewhere, too

    def begun(self) -> list[ShardJob]:
        given = list(self.given.values())
        return given[: len(given) - self.num_waiting]


class Assignments:
    """The jobs of one call of `Executor.run`, shared out among processes that may die, join and leave.

    Processes have numbers, which the caller chooses. A number that is heard of for the first time is a new process.
    """

    def __init__(self, jobs: Sequence[ShardJob], *, second_attempts: bool = False) -> None:
        """Nothing is given out yet.

        Args:
            jobs: of which each ends once, also if it is there twice.
            second_attempts: try jobs a second time in processes that have nothing else to do.
        """
        self._pending = deque({job.key: job for job in jobs}.values())
        self._second_attempts = second_attempts
        self._suspects: deque[ShardJob] = deque()
        self._open = {job.key for job in self._pending}
        self._processes: defaultdict[int, _Process] = defaultdict(_Process)
        self._attempts: Counter[_Key] = Counter()  # how many processes have a job
        self._deaths: Counter[_Key] = Counter()
        self._losses: Counter[_Key] = Counter()
        self._open_at_first_loss: dict[_Key, int] = {}
        self._deaths_in_a_row = 0
        self.num_tried_again = 0  # jobs that were taken back from dead or lost processes that had begun them

    @property
    def have_ended(self) -> bool:
        """Whether every job has ended; processes may still be busy with second attempts."""
        return not self._open

    @property
    def is_done(self) -> bool:
        """Whether every job has ended and every process waits for another round."""
        return self.have_ended and not self.busy

    @property
    def busy(self) -> list[int]:
        """The processes that are in a round."""
        return [number for number, process in self._processes.items() if process.in_round]

    def messages(self, number: int, gallery: Path) -> Iterator[object]:
        """What a process is to be sent now."""
        process = self._processes[number]
        if not process.in_round:
            job = self._first(process)
            if job is None:
                return
            process.in_round = True
            yield gallery
            yield self._give(process, job)
        while not process.is_closed and process.num_waiting < _AHEAD:
            if process.has_one_job or not self._pending:
                process.is_closed = True
                yield NoMore()
            else:
                yield self._give(process, self._pending.popleft())

    def heard(self, number: int, message: object) -> Iterator[Event]:
        """Takes what a process has sent; events are passed on, except those of an attempt that does not count."""
        process = self._processes[number]
        if isinstance(message, Taken):
            process.num_waiting -= 1
            process.begun_at[process.begun()[-1].key] = time.monotonic()
        elif isinstance(message, RoundOver):
            for job in self._take_back(number):  # of a round that was abandoned
                self._return(job)
        elif isinstance(message, Written | Broken):
            key = message.job.key
            if process.given.pop(key, None):
                self._attempts[key] -= 1
            if key in self._open and not (isinstance(message, Broken) and self._attempts[key]):
                self._deaths_in_a_row = 0
                yield self._ended(message)
        else:
            assert isinstance(message, Event), f"a process sent {message}"
            if not process.is_second:  # its images are counted by the first attempt
                yield message

    def is_late(self, number: int) -> bool:
        """Whether a process works on a job that has ended elsewhere, so that its folder may be gone."""
        return any(key not in self._open for key in self._processes[number].given)

    def died(self, number: int, how: str) -> Iterator[Event]:
        """Takes back what a dead process had; yields the end of a job that is given up.

        Args:
            number: the process.
            how: what is known about its end, for messages.

        Raises:
            JobError: if processes die whatever they do.
        """
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row >= _MOST_IN_A_ROW:
            raise JobError(f"{self._deaths_in_a_row} embedding processes died in a row ({how})")
        for job in self._take_back(number):
            yield from self._blame(job, how)

    def lost(self, number: int, how: str) -> Iterator[Event]:
        """The same for a process whose machine is gone, or that was ended on purpose: its jobs are not to blame.

        Raises:
            JobError: if machines are lost again and again, and no job ends in between.
        """
        for job in self._take_back(number):
            key = job.key
            self._open_at_first_loss.setdefault(key, len(self._open))
            self._losses[key] += 1
            if self._losses[key] < _MOST_LOSSES:
                self._return(job)
            elif self._open_at_first_loss[key] == len(self._open):
                raise JobError(f"{_MOST_LOSSES} machines were lost in a row, and no shard was finished ({how})")
            else:
                yield from self._blame(job, how)

    def _first(self, process: _Process) -> ShardJob | None:
        """The first job of a process's next round; None if there is nothing to do."""
        process.is_second = not self._suspects and not self._pending
        process.has_one_job = process.is_second or bool(self._suspects)
        if process.is_second:
            return self._slowest() if self._second_attempts else None
        return (self._suspects or self._pending).popleft()

    def _slowest(self) -> ShardJob | None:
        """The job to try a second time: one that nobody has begun, else the one that was begun first."""
        found = [
            (process.begun_at.get(key, 0.0), key, job)
            for process in self._processes.values()
            for key, job in process.given.items()
            if key in self._open and not self._deaths[key] and self._attempts[key] < _MOST_AT_ONCE
        ]
        return min(found, key=lambda each: each[:2])[2] if found else None

    def _give(self, process: _Process, job: ShardJob) -> Job:
        process.given[job.key] = job
        self._attempts[job.key] += 1
        process.num_waiting += 1
        return Job(job)

    def _take_back(self, number: int) -> list[ShardJob]:
        """Forgets a process, and returns the jobs that it had begun and nobody else has; the others wait again."""
        process = self._processes.pop(number, _Process())
        begun = process.begun()
        self._attempts.subtract(list(process.given))
        mine = [job for key, job in process.given.items() if key in self._open and not self._attempts[key]]
        for job in reversed(mine):
            if job not in begun:
                self._return(job)
        taken_back = [job for job in mine if job in begun]
        self.num_tried_again += len(taken_back)
        return taken_back

    def _return(self, job: ShardJob) -> None:
        """Lets a job wait again, before the others; alone if a process died over it."""
        (self._suspects if self._deaths[job.key] else self._pending).appendleft(job)

    def _blame(self, job: ShardJob, how: str) -> Iterator[Event]:
        self._deaths[job.key] += 1
        if self._deaths[job.key] < _MOST_DEATHS:
            self._suspects.append(job)
        else:
            reason = f"{job.shard.uri}: {_MOST_DEATHS} embedding processes died over it ({how})"
            yield self._ended(Broken(job=job, reason=reason, may_pass=False))

    def _ended(self, event: Written | Broken) -> Event:
        self._open.discard(event.job.key)
        return event

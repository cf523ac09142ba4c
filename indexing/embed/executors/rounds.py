"""Which job is given to which process, and to which other one if that process dies."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ....datasets.errors import JobError
from ...store.ledger import ShardJob
from ..events import Broken, Event, Written
from .messages import Job, NoMore, RoundOver, Taken

# Jobs that wait in a process beside the one that it has begun, so that it never waits for the parent.
_AHEAD = 1
# A job that was being worked on when so many processes died is given up; from its second try on it is alone, so that
# no other job is blamed.
_MOST_DEATHS = 3
# So many processes that die without any job ended in between are no job's fault.
_MOST_IN_A_ROW = 6

_Key = tuple[int, tuple[str, ...]]


@dataclass(slots=True)
class _Process:
    """What a process has: jobs that were sent to it and have not ended, and how many of them it has not begun."""

    given: dict[_Key, ShardJob] = field(default_factory=dict)
    num_waiting: int = 0
    in_round: bool = False
    is_closed: bool = False  # it was told that there are no more jobs in its round
    is_alone: bool = False  # it has one job that was there when another process died


class Assignments:
    """The jobs of one call of `Executor.run`, shared out among processes that may die."""

    def __init__(self, jobs: Sequence[ShardJob], num_processes: int) -> None:
        self._pending = deque(jobs)
        self._suspects: deque[ShardJob] = deque()
        self._processes = [_Process() for _ in range(num_processes)]
        self._deaths: Counter[_Key] = Counter()
        self._deaths_in_a_row = 0

    @property
    def is_done(self) -> bool:
        """Whether every job has ended and every process waits for another round."""
        return not self._pending and not self._suspects and not any(process.in_round for process in self._processes)

    def messages(self, number: int, gallery: Path) -> Iterator[object]:
        """What a process is to be sent now."""
        process = self._processes[number]
        if not process.in_round and (self._suspects or self._pending):
            process.in_round = True
            yield gallery
            if self._suspects:
                process.is_alone = True
                yield self._give(process, self._suspects.popleft())
        while process.in_round and not process.is_closed and process.num_waiting < _AHEAD:
            if process.is_alone or not self._pending:
                process.is_closed = True
                yield NoMore()
            else:
                yield self._give(process, self._pending.popleft())

    def heard(self, number: int, message: object) -> Iterator[Event]:
        """Takes what a process has sent; events are passed on."""
        process = self._processes[number]
        if isinstance(message, Taken):
            process.num_waiting -= 1
        elif isinstance(message, RoundOver):
            self._processes[number] = _Process()
        else:
            assert isinstance(message, Event), f"a process sent {message}"
            if isinstance(message, Written | Broken):
                process.given.pop(message.job.key, None)
                self._deaths_in_a_row = 0
            yield message

    def died(self, number: int, exit_code: int | None) -> Iterator[Event]:
        """Takes back what a dead process had; yields the end of a job that is given up.

        Raises:
            JobError: if processes die whatever they do.
        """
        process, self._processes[number] = self._processes[number], _Process()
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row >= _MOST_IN_A_ROW:
            raise JobError(f"{self._deaths_in_a_row} embedding processes died in a row (exit code {exit_code})")
        given = list(process.given.values())
        begun = given[: len(given) - process.num_waiting]
        self._pending.extendleft(reversed(given[len(begun) :]))
        for job in begun:
            self._deaths[job.key] += 1
            if self._deaths[job.key] < _MOST_DEATHS:
                self._suspects.append(job)
            else:
                reason = f"{job.shard.uri}: {_MOST_DEATHS} embedding processes died over it (exit code {exit_code})"
                yield Broken(job=job, reason=reason, may_pass=False)

    def _give(self, process: _Process, job: ShardJob) -> Job:
        process.given[job.key] = job
        process.num_waiting += 1
        return Job(job)

"""One task of an array: claims jobs, runs them, tells how they ended."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import chain
from typing import Any

from .....datasets.errors import InputError, JobError
from ....encoders import load_encoder
from ....encoders.spec import ImageEncoder
from ....encoders.torch_encoder import resolve_device
from ....store.ledger import ShardJob
from ...events import Broken, Written
from ...loop import BATCH_SIZE, LoopSettings, run_jobs
from . import commands
from .beats import Beats, Owner
from .claims import Claims
from .submission import Submission

log = logging.getLogger(__name__)

# A shard that cannot be read is tried so often, with a pause that doubles: network file systems fail now and then.
_TRIES = 3
_PAUSE_SECONDS = 1.0
_GOODBYE_SECONDS = 30.0  # before the time limit: whatever is not finished then is left to others
_TERMINATED = 143


def run_task(submission: Submission, environment: Mapping[str, str] = os.environ) -> None:
    """Runs jobs until none is left that this task may begin.

    SIGUSR1 says that the time limit is near: the task begins no more jobs, finishes those that it can, and is queued
    again if jobs are left. SIGTERM ends it at once. Both give back the jobs that it has not finished.

    Args:
        submission: what to work on.
        environment: the variables that SLURM sets.

    Raises:
        InputError: if the encoders cannot be loaded, or do not fit the gallery.
        SystemExit: after SIGTERM.
    """
    job = environment.get("SLURM_JOB_ID", str(os.getpid()))
    number = int(environment.get("SLURM_ARRAY_TASK_ID", 0))
    restart = int(environment.get("SLURM_RESTART_COUNT", 0))
    owner = Owner(environment.get("SLURM_ARRAY_JOB_ID", job), number, restart)
    stopping = _Stopping(job)
    with Beats(submission.folder / "beats", owner, lease_seconds=submission.state.lease_seconds) as beats:
        claims = Claims(submission.folder / "claims", submission.folder / "ended", submission.num_jobs, beats)
        try:
            _Task(submission, claims, beats, stopping).work(number)
        except _TimeIsUp:
            log.info("the time limit has come; what is not finished is left to other tasks")
        finally:
            stopping.disarm()
            claims.release()
    if stopping.is_set() and len(submission.ended()) < submission.num_jobs:
        log.info("queued again")
        commands.requeue(job)


class _TimeIsUp(BaseException):
    """The time limit is so near that the task must end."""


class _Stopping:
    """Whether the task must begin no more jobs."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._event = threading.Event()
        signal.signal(signal.SIGUSR1, self._warn)
        signal.signal(signal.SIGALRM, self._end)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))

    def is_set(self) -> bool:
        return self._event.is_set()

    def disarm(self) -> None:
        """From now on the alarm does not ring."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _warn(self, *_: object) -> None:
        self._event.set()
        try:
            left = commands.seconds_left(self._job)
        except (InputError, JobError) as error:
            log.warning("SLURM does not say how much time is left (%s)", error)
            return
        if left is not None:
            signal.setitimer(signal.ITIMER_REAL, max(left - _GOODBYE_SECONDS, 1.0))

    def _end(self, *_: object) -> None:
        raise _TimeIsUp


class _Task:
    """The work of one start of a task."""

    def __init__(self, submission: Submission, claims: Claims, beats: Beats, stopping: _Stopping) -> None:
        self._submission = submission
        self._claims = claims
        self._beats = beats
        self._stopping = stopping

    def work(self, number: int) -> None:
        """Runs the jobs that nobody has begun, then one by one those whose tasks have ended."""
        num_jobs = self._submission.num_jobs
        fresh = self._claims.fresh(number * num_jobs // self._submission.state.num_tasks % num_jobs)
        encoders: list[ImageEncoder] | None = None
        for indices in chain([fresh], self._orphans()):
            some = self._until_stopped(indices)
            first = next(some, None)
            if first is None:
                continue
            encoders = encoders or self._load()  # seldom for nothing: a task may start when all has ended
            again = self._run(chain([first], some), encoders, is_last_try=False)
            for attempt in range(1, _TRIES):
                if again:
                    time.sleep(_PAUSE_SECONDS * 2 ** (attempt - 1))
                    again = self._run(again, encoders, is_last_try=attempt == _TRIES - 1)

    def _orphans(self) -> Iterator[list[int]]:
        while not self._is_over() and (index := self._claims.orphan()) is not None:
            yield [index]

    def _until_stopped(self, indices: Iterable[int]) -> Iterator[int]:
        indices = iter(indices)
        while not self._is_over() and (index := next(indices, None)) is not None:
            yield index

    def _is_over(self) -> bool:
        return self._stopping.is_set() or self._beats.is_lost or self._submission.is_over()

    def _run(self, indices: Iterable[int], encoders: list[ImageEncoder], *, is_last_try: bool) -> list[int]:
        """Runs jobs, and tells how they ended; returns those that are worth another try."""
        jobs, numbers = self._submission.jobs, dict[Any, int]()
        again: list[int] = []

        def named() -> Iterator[ShardJob]:
            for index in indices:
                numbers[jobs[index].key] = index
                yield jobs[index]

        with closing(run_jobs(named(), self._submission.gallery, encoders, self._settings())) as events:
            for event in events:
                if not isinstance(event, Written | Broken):
                    continue
                index = numbers[event.job.key]
                if isinstance(event, Broken) and event.may_pass and not is_last_try:
                    again.append(index)
                    continue
                if isinstance(event, Broken):
                    event = replace(event, may_pass=False)  # all tries were made here
                self._submission.record(index, event, str(self._beats.owner))
                self._claims.finished(index)
                log.info("%s", _said(event))
        return again

    def _load(self) -> list[ImageEncoder]:
        work = self._submission.state.work
        return [
            load_encoder(name, device=work.device, precision=work.precision, runtime=work.runtime)
            for name in work.encoders
        ]

    def _settings(self) -> LoopSettings:
        work = self._submission.state.work
        kind = resolve_device(work.device).type
        num_workers = 0 if kind == "cpu" else max(1, len(os.sched_getaffinity(0)))
        return LoopSettings(
            batch_size=BATCH_SIZE.get(kind, 16) if work.batch_size is None else work.batch_size,
            num_workers=num_workers if work.num_workers is None else work.num_workers,
            texts=work.texts,
        )


def _said(event: Written | Broken) -> str:
    if isinstance(event, Broken):
        return event.reason
    return f"{event.job.shard.uri}: {event.num_rows} rows, {event.num_failed} failed"

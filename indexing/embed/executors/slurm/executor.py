"""The executors of SLURM: one that waits for its tasks, and one that ends what tasks have done."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from .....datasets import arguments
from .....datasets.errors import InputError, JobError
from .....datasets.files import read_text
from ....encoders import Runtime, TextEncoder, load_encoder
from ....encoders.spec import EncoderSpec, ImageEncoder, Precision
from ....store.ledger import ShardJob
from ...events import Broken, Event
from ...loop import LoopSettings
from . import commands
from .arrays import check_template, ends_of, give_up, submit_array, submit_last
from .beats import LEASE_SECONDS
from .submission import State, Submission, Work, forget, forget_logs

log = logging.getLogger(__name__)

NUM_TASKS = 8
TEMPLATE = Path(__file__).with_name("template.sh")
_POLL_SECONDS = 5.0
_GOODBYE_SECONDS = 15.0
_GOODBYE_POLL_SECONDS = 0.5
_MOST_SILENCES = 60  # polls in a row that SLURM does not answer


class Slurm:
    """Runs the loop in array jobs of SLURM, whose tasks claim shards one by one.

    `run` waits for them; `submit` leaves them alone, and a last task commits what they have written. All machines must
    see the gallery and the shards under the same paths.
    """

    def __init__(
        self,
        encoders: Sequence[str],
        *,
        texts: bool = False,
        batch_size: int | None = None,
        num_workers: int | None = None,
        device: str = "auto",
        precision: Precision = "auto",
        runtime: Runtime = "auto",
        num_tasks: int | None = None,
        template: Path | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """Submits nothing yet.

        Args:
            encoders: names as in `load_encoder`, the main space's first.
            texts: embed captions as well.
            batch_size: see `LoopSettings`; None for what suits a task's device.
            num_workers: see `LoopSettings`; None for 0 on a CPU and the CPU cores of the task on a GPU.
            device: as in `load_encoder`, for the tasks.
            precision: as in `load_encoder`.
            runtime: as in `load_encoder`.
            num_tasks: tasks of an array at most; None for `NUM_TASKS`.
            template: a batch script with placeholders; None for `TEMPLATE`.
            lease_seconds: after which a task that gives no sign of life may lose its shards to others.

        Raises:
            InputError: if the settings or the template cannot be used, or SLURM is not installed here.
        """
        num_tasks = NUM_TASKS if num_tasks is None else arguments.whole_number("num_tasks", num_tasks)
        if num_tasks < 1:
            raise InputError(f"num_tasks is {num_tasks}; give at least 1")
        LoopSettings(batch_size=1 if batch_size is None else batch_size, num_workers=num_workers or 0)  # checks them
        commands.require("sbatch")
        self._template = _read_template(TEMPLATE if template is None else Path(template))
        check_template(self._template)
        work = Work(
            encoders=list(encoders),
            texts=texts,
            batch_size=batch_size,
            num_workers=num_workers,
            device=device,
            precision=precision,
            runtime=runtime,
        )
        self._state = State(work=work, num_tasks=num_tasks, lease_seconds=lease_seconds)

    @cached_property
    def _encoders(self) -> list[ImageEncoder]:
        """Loaded here only for their specs, so that what cannot be loaded is told before anything is submitted."""
        return [load_encoder(name, device="cpu") for name in self._state.work.encoders]

    @property
    def specs(self) -> Sequence[EncoderSpec]:
        """See `Executor`."""
        return [encoder.spec for encoder in self._encoders]

    @property
    def encodes_texts(self) -> bool:
        """See `Executor`."""
        return isinstance(self._encoders[0], TextEncoder)

    @property
    def texts(self) -> bool:
        """See `Executor`."""
        return self._state.work.texts

    def submit(self, jobs: Sequence[ShardJob], gallery: Path) -> Submission:
        """Submits jobs and the last task, and returns at once. Only while the gallery's lock is held.

        Raises:
            InputError: if SLURM refuses them; nothing is left behind then.
        """
        submission = Submission.create(gallery, jobs, self._state, self._template)
        with _undone_by_errors(submission):
            submit_array(submission, submission.num_jobs)
            submit_last(submission)
        return submission

    def run(self, jobs: Sequence[ShardJob], gallery: Path) -> Generator[Event, None, None]:
        """See `Executor`. If the generator is closed, the tasks are cancelled.

        Raises:
            InputError: if SLURM refuses the tasks.
            JobError: if SLURM does not answer for a long time, or tasks end one after another and no job does.
        """
        if not jobs:
            return
        submission = Submission.create(gallery, jobs, self._state, self._template)
        with _undone_by_errors(submission):
            told: set[int] = set()
            while len(told) < submission.num_jobs:
                submit_array(submission, submission.num_jobs - len(told))
                yield from _follow(submission, told)
        _cancel(submission)  # a task may still be starting
        forget(gallery)
        forget_logs(submission)


class Finishing:
    """Ends the jobs of a submission in its last task, when all its other tasks have ended.

    What they have written is accepted already, see `left_by_submission`.
    """

    def __init__(self, submission: Submission, encoders: Sequence[ImageEncoder]) -> None:
        self._submission = submission
        self.specs: Sequence[EncoderSpec] = [encoder.spec for encoder in encoders]
        self.encodes_texts = isinstance(encoders[0], TextEncoder)
        self.texts = submission.state.work.texts

    def run(self, jobs: Sequence[ShardJob], gallery: Path) -> Generator[Event, None, None]:
        """See `Executor`. What no task has ended is submitted again, with another last task.

        Raises:
            SubmittedAgain: if jobs are left.
            JobError: if tasks end one after another and no job does.
        """
        del gallery
        submission = self._submission
        give_up(submission)
        ended, wanted = submission.ended(), {job.key for job in jobs}
        for index, job in enumerate(submission.jobs):
            if index not in ended or job.key not in wanted:
                continue
            event = submission.end_of(index, job)
            if isinstance(event, Broken):
                yield event
            else:  # what it has written would have been accepted, but this machine does not see it
                submission.take_back(index)
                ended.discard(index)
        if num_left := submission.num_jobs - len(ended):
            array = submit_array(submission, num_left)
            submit_last(submission)
            raise SubmittedAgain(f"{num_left} of {submission.num_jobs} shards are left, submitted again as job {array}")


class SubmittedAgain(JobError):  # noqa: N818 - nothing is wrong
    """Some jobs were left, and other tasks have been submitted for them."""


def _follow(submission: Submission, told: set[int]) -> Generator[Event, None, None]:
    """Yields the ends of jobs, and adds their numbers to those told, until all have ended or no task is left."""
    num_silences = 0
    while True:
        try:
            is_alive = any(task.is_of_array for task in commands.living(submission.name))
            num_silences = 0
        except JobError as error:  # the controller may be restarting
            is_alive = True
            num_silences += 1
            if num_silences >= _MOST_SILENCES:
                raise JobError(f"SLURM does not answer ({error}); run this again when it does") from error
        if not is_alive:
            give_up(submission)
        for index in sorted(submission.ended() - told):  # after SLURM was asked: a task may have ended since
            told.add(index)
            yield from ends_of(submission, index)
        if len(told) == submission.num_jobs or not is_alive:
            return
        time.sleep(_POLL_SECONDS)


class _undone_by_errors:  # noqa: N801 - a context manager
    """Cancels and removes a submission if there is an error, or if the caller wants no more events."""

    def __init__(self, submission: Submission) -> None:
        self._submission = submission

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        if kind:
            _cancel(self._submission)
            forget(self._submission.gallery)
        if kind is GeneratorExit:  # it is no error, so nobody looks for its reason
            forget_logs(self._submission)


def _cancel(submission: Submission) -> None:
    """Ends the tasks, and waits for their end for a while. One that goes on finds no submission, and does no harm."""
    deadline = time.monotonic() + _GOODBYE_SECONDS
    with suppress(InputError, JobError):
        commands.cancel(submission.name)
        while commands.living(submission.name) and time.monotonic() < deadline:
            time.sleep(_GOODBYE_POLL_SECONDS)


def _read_template(path: Path) -> str:
    try:
        return read_text(path)
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a template ({error}); give a batch script in UTF-8") from error

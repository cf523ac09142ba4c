"""A submission on disk: what its tasks need, and what they have written."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .....datasets.errors import InputError, JobError
from .....datasets.files import write_atomic, write_json
from ....encoders import Runtime
from ....encoders.spec import Precision
from ....store.layout import ATTEMPTS, SLURM, part_name
from ....store.ledger import Ledger, ShardJob
from ...events import Broken, Written
from . import commands
from .beats import LEASE_SECONDS

_STATE = "submission.json"
_JOBS = "jobs.json"
_TEMPLATE = "template.sh"
_FOLDERS = ("beats", "claims", "ended")
_LOGS = "logs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What every task loads. None stands for what suits the device that the task finds."""

    encoders: Sequence[str]
    texts: bool = False
    batch_size: int | None = None
    num_workers: int | None = None
    device: str = "auto"
    precision: Precision = "auto"
    runtime: Runtime = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What `submission.json` says.

    Attributes:
        work: see `Work`.
        num_tasks: tasks of an array at most.
        lease_seconds: see `Beats`.
        array: the number of the last array job; None before the first one.
        num_ended: jobs that tasks had ended when that array was submitted.
        num_given_up: jobs that were ended because tasks died over them.
        num_idle: how many arrays in a row have ended no job.
    """

    work: Work
    num_tasks: int
    lease_seconds: float = LEASE_SECONDS
    array: str | None = None
    num_ended: int = 0
    num_given_up: int = 0
    num_idle: int = 0


class Submission:
    """The folder of a submission. A gallery has one at most."""

    def __init__(self, gallery: Path, name: str) -> None:
        """Reads what is there.

        Raises:
            InputError: if it is damaged.
        """
        self.gallery = gallery
        self.name = name
        self.folder = gallery / SLURM / name
        try:
            state = json.loads((self.folder / _STATE).read_bytes())
            self.state = State(**{**state, "work": Work(**state["work"])})
            jobs = json.loads((self.folder / _JOBS).read_bytes())
            self._jobs = [(int(part), tuple(map(str, spaces))) for part, spaces in jobs]
        except FileNotFoundError:
            raise InputError(f"{self.folder} is no submission, or one that has ended") from None
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{self.folder} is damaged ({error}); cancel its jobs and remove it") from error

    @classmethod
    def create(cls, gallery: Path, jobs: Sequence[ShardJob], state: State, template: str) -> Submission:
        """Writes a new submission in place of earlier ones. Only while the gallery's lock is held."""
        forget(gallery)
        name = f"diantu-{uuid.uuid4().hex[:8]}"
        folder = gallery / SLURM / name
        for inner in (*_FOLDERS, f"../{_LOGS}/{name}"):
            (folder / inner).mkdir(parents=True, exist_ok=True)
        keys = {job.key: [job.part, job.spaces] for job in jobs}
        write_atomic(folder / _JOBS, json.dumps(list(keys.values())).encode())
        write_atomic(folder / _TEMPLATE, template.encode())
        write_json(folder / _STATE, asdict(state))  # last, because it makes the submission
        return cls(gallery, name)

    @property
    def template(self) -> str:
        """The batch script with its placeholders."""
        return (self.folder / _TEMPLATE).read_text("utf-8")

    @property
    def logs(self) -> Path:
        """The folder of what tasks print, which stays when the submission is over."""
        return self.gallery / SLURM / _LOGS / self.name

    @property
    def num_jobs(self) -> int:
        """The number of jobs."""
        return len(self._jobs)

    @cached_property
    def jobs(self) -> list[ShardJob]:
        """The jobs; their numbers are the positions in this list.

        Raises:
            InputError: if the gallery's ledger is damaged, or was replaced by a shorter one.
        """
        known = Ledger(self.gallery).jobs
        if any(part >= len(known) for part, _ in self._jobs):
            raise InputError(f"{self.folder} does not fit the ledger of {self.gallery}; cancel its jobs and remove it")
        return [replace(known[part], spaces=spaces) for part, spaces in self._jobs]

    def update(self, **changes: Any) -> None:
        """Changes the state. Only while the gallery's lock is held."""
        self.state = replace(self.state, **changes)
        write_json(self.folder / _STATE, asdict(self.state))

    def is_over(self) -> bool:
        """Whether its folder was removed, because all has ended or another job has taken its place."""
        return not (self.folder / _STATE).exists()

    def record(self, index: int, event: Written | Broken, who: str) -> None:
        """Tells how a job has ended. If two tasks do, either is right: each names an attempt that is complete."""
        told = asdict(event)
        del told["job"]
        temporary = self.folder / "ended" / f".{who}"
        with temporary.open("wb") as file:
            file.write(json.dumps(told, ensure_ascii=False).encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / "ended" / f"{index}.json")

    def take_back(self, index: int) -> None:
        """Forgets how a job has ended, so that another task runs it."""
        (self.folder / "ended" / f"{index}.json").unlink(missing_ok=True)

    def ended(self) -> set[int]:
        """The numbers of the jobs that have ended."""
        names = os.listdir(self.folder / "ended")
        return {int(name.partition(".")[0]) for name in names if not name.startswith(".")}

    def end_of(self, index: int, job: ShardJob) -> Written | Broken:
        """How a job has ended.

        Raises:
            JobError: if that cannot be read.
        """
        path = self.folder / "ended" / f"{index}.json"
        try:
            told = json.loads(path.read_bytes())
            if "attempt" not in told:
                return Broken(job=job, reason=str(told["reason"]), may_pass=bool(told["may_pass"]))
            # The folder is moved and removed, so it must be one of the attempts at this part.
            if not re.fullmatch(rf"{ATTEMPTS}/{part_name(job.part)}/[0-9a-f]+", told["attempt"]):
                raise ValueError(f"{told['attempt']!r} is no attempt at part {part_name(job.part)}")
            notes = tuple((str(key), str(note)) for key, note in told["notes"])
            counts = {name: int(told[name]) for name in ("num_rows", "num_failed")}
            return Written(job=job, attempt=told["attempt"], notes=notes, **counts)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise JobError(f"{path} cannot be read ({error}); remove it, the shard is then embedded again") from error


def current(gallery: Path) -> Submission | None:
    """The submission of a gallery, whether its tasks still run or not."""
    found = sorted((gallery / SLURM).glob(f"*/{_STATE}"))
    return Submission(gallery, found[0].parent.name) if found else None


def forget(gallery: Path) -> None:
    """Removes the submission of a gallery, but not its logs. Only while the gallery's lock is held."""
    for state in (gallery / SLURM).glob(f"*/{_STATE}"):
        state.unlink()  # first, because it makes the submission
        shutil.rmtree(state.parent, ignore_errors=True)


def forget_logs(submission: Submission) -> None:
    """Removes what the tasks of a submission have printed, and the folders above if nothing else is in them."""
    shutil.rmtree(submission.logs, ignore_errors=True)
    with suppress(OSError):
        for folder in (submission.logs.parent, submission.folder.parent):
            folder.rmdir()


def refuse_while_submitted(gallery: Path) -> None:
    """Lets nobody but its own last task touch a gallery for which SLURM has jobs.

    Raises:
        InputError: if SLURM has some, or cannot be asked.
    """
    submission = current(gallery)
    if submission is None:
        return
    try:
        others = [task for task in commands.living(submission.name) if task.id != os.environ.get("SLURM_JOB_ID")]
    except (InputError, JobError) as error:
        raise InputError(
            f"{gallery} was submitted to SLURM as {submission.name}, and whether it still runs is not known here "
            f"({error}); try again where SLURM answers, or remove {submission.folder} if it has ended"
        ) from error
    if others:
        raise InputError(f"{running(submission, others)}; wait for it or cancel it, then run this again")


def running(submission: Submission, tasks: Sequence[commands.Task]) -> str:
    """A sentence about a submission whose jobs SLURM has not ended, without a full stop."""
    count = "1 task" if len(tasks) == 1 else f"{len(tasks)} tasks"
    return (
        f"{submission.gallery} is being embedded by {count} of SLURM, {submission.name} (follow it: diantu status "
        f"--gallery {submission.gallery}; cancel it: scancel --name={submission.name})"
    )


def left_by_submission(gallery: Path) -> Iterator[Written]:
    """What the tasks of a submission have completed, and nobody has accepted yet."""
    submission = current(gallery)
    for index, job in enumerate(submission.jobs) if submission else ():
        assert submission
        if (submission.folder / "ended" / f"{index}.json").exists():
            event = submission.end_of(index, job)
            if isinstance(event, Written) and (gallery / event.attempt).is_dir():
                yield event

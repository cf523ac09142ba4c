"""Array jobs: the batch scripts, their submission, and what is to be done when an array has ended."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Generator
from pathlib import Path
from string import Template

from .....datasets.errors import InputError, JobError
from .....datasets.files import write_atomic
from .....datasets.processes import python_command
from ...events import Broken, Encoded, Event, Scanned, Written
from . import commands
from .beats import owners
from .claims import MOST_DEATHS, claimed, is_given_up, owner_of
from .submission import Submission

log = logging.getLogger(__name__)

# Arrays in a row that end no job. Some may be needed to find the shards over which tasks die.
_MOST_IDLE = 6
_ARRAY = ("#SBATCH --array", "#SBATCH -a")


def submit_array(submission: Submission, num_left: int) -> str:
    """Submits the tasks for what is left; returns the number of the array job.

    Raises:
        InputError: if SLURM refuses it.
        JobError: if arrays end one after another and no job does.
    """
    state = submission.state
    num_ended = submission.num_jobs - num_left - state.num_given_up
    num_idle = state.num_idle + 1 if state.array and num_ended <= state.num_ended else 0
    if num_idle >= _MOST_IDLE:
        raise JobError(
            f"{num_idle} arrays of SLURM ended one after another, and no shard did; {num_left} are left, and the logs "
            f"are in {submission.logs}"
        )
    last = min(state.num_tasks, num_left) - 1
    array = commands.sbatch(_script(submission, "task", array=f"0-{last}"), [f"--job-name={submission.name}"])
    submission.update(array=array, num_ended=num_ended, num_idle=num_idle)
    return array


def submit_last(submission: Submission) -> str:
    """Submits the task that commits and reports when all tasks of the array have ended; returns its number."""
    script = _script(submission, "last")
    return commands.sbatch(script, [f"--job-name={submission.name}", f"--dependency=afterany:{submission.state.array}"])


def check_template(template: str) -> None:
    """Refuses a template that cannot be used.

    Raises:
        InputError: if it has other placeholders, or lacks the command.
    """
    _filled(template, array="0-0", log="log", command="command")
    if "$command" not in template and "${command}" not in template:
        raise InputError("the template of the batch script has no $command; add the line: exec $command")


def ends_of(submission: Submission, index: int) -> Generator[Event, None, None]:
    """The events of a job that has ended. There are none of its batches, so that they are made up from the counts."""
    event = submission.end_of(index, submission.jobs[index])
    if isinstance(event, Written):
        yield Scanned(num_samples=event.num_rows + event.num_failed)
        yield Encoded(num_images=event.num_rows, num_failed=event.num_failed)
    yield event


def give_up(submission: Submission) -> None:
    """Ends the jobs over which too many tasks have died. Only when all tasks have ended."""
    ended, everybody, folder = submission.ended(), owners(submission.folder / "beats"), submission.folder / "claims"
    for index, numbers in claimed(folder).items():
        begun_by = [owner for number in numbers if (owner := owner_of(folder, index, number))]
        if index not in ended and is_given_up(begun_by, everybody):
            job = submission.jobs[index]
            reason = f"{job.shard.uri}: {MOST_DEATHS} embedding processes died over it"
            submission.record(index, Broken(job=job, reason=reason, may_pass=False), "nobody")
            submission.update(num_given_up=submission.state.num_given_up + 1)


def _script(submission: Submission, kind: str, *, array: str = "") -> Path:
    logs = str(submission.logs.absolute())
    if any(sign in logs for sign in '"\n%\\'):
        raise InputError(f"SLURM cannot write logs to {logs}; give a gallery without quotes, %, \\ and line breaks")
    command = python_command(
        "diantu.indexing.embed.slurm", "main", kind, str(submission.gallery.absolute()), submission.name
    )
    template = submission.template
    if kind == "last":
        template = "".join(line for line in template.splitlines(keepends=True) if not line.startswith(_ARRAY))
    log_name = "%A_%a.out" if kind == "task" else "%j-last.out"
    script = _filled(template, array=array, log=f"{logs}/{log_name}", command=shlex.join(command))
    path = submission.folder / f"{kind}.sh"
    write_atomic(path, script.encode())
    return path


def _filled(template: str, **values: str) -> str:
    try:
        return Template(template).substitute(values)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"the template of the batch script cannot be filled in ({error}); it may contain $array, $log and "
            "$command, and $$ for any other dollar sign"
        ) from error

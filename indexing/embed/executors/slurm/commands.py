"""SLURM's own commands: sbatch, squeue, scancel, scontrol."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .....datasets.errors import InputError, JobError, first_line

_PATIENCE_SECONDS = 120.0  # a controller that is busy answers late
# All other variables of this kind describe the job that a command is called in, and must not reach another job.
_KEPT = ("SLURM_CONF", "SLURM_CLUSTERS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A job, or one task of an array, that SLURM has not ended: `id` is `12` or `12_3`, `state` is like `PENDING`."""

    id: str
    state: str

    @property
    def is_of_array(self) -> bool:
        """Whether it is one of the tasks that embed."""
        return "_" in self.id


def require(command: str) -> None:
    """Refuses to go on where SLURM is not installed.

    Raises:
        InputError: if a command cannot be found.
    """
    if shutil.which(command) is None:
        raise _missing(command)


def sbatch(script: Path, options: Sequence[str]) -> str:
    """Submits a batch script, and returns the number of its job.

    Raises:
        InputError: if SLURM is not installed here, or refuses it.
    """
    try:
        return _run(["sbatch", "--parsable", *options, os.fspath(script)]).strip().partition(";")[0]
    except JobError as error:
        raise InputError(f"SLURM did not take the job: {error}; see --slurm-template in diantu embed --help") from error


def living(name: str) -> list[Task]:
    """The jobs with a name that SLURM has not ended, array tasks one by one.

    Raises:
        JobError: if SLURM does not answer.
    """
    lines = _run(["squeue", "--noheader", "--array", f"--name={name}", "--format=%i %T"]).splitlines()
    found = [line.split() for line in lines if line.strip()]
    return [Task(id=id, state=state) for id, state in found]


def cancel(name: str) -> None:
    """Ends all jobs with a name."""
    _run(["scancel", f"--name={name}"])


def requeue(job: str) -> None:
    """Lets a job start again from its beginning. The process that asks for it in its own job is ended."""
    _run(["scontrol", "requeue", job])


def seconds_left(job: str) -> float | None:
    """Seconds until a job's time limit; None if it has none."""
    left = _run(["squeue", "--noheader", f"--jobs={job}", "--format=%L"]).strip()
    days, _, clock = left.rpartition("-")
    try:
        seconds = 0
        for field in clock.split(":"):
            seconds = 60 * seconds + int(field)
        return float(86400 * int(days or 0) + seconds)
    except ValueError:  # UNLIMITED, NOT_SET
        return None


def _run(command: Sequence[str]) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_") or key in _KEPT}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, env=environment, check=True
        )
    except FileNotFoundError:
        raise _missing(command[0]) from None
    except subprocess.CalledProcessError as error:
        said = " ".join((error.stderr or error.stdout or "").split())
        raise JobError(said or f"{command[0]} failed (exit code {error.returncode})") from error
    except (subprocess.TimeoutExpired, OSError) as error:
        raise JobError(f"{command[0]} failed ({first_line(error)})") from error
    return done.stdout


def _missing(command: str) -> InputError:
    return InputError(f"{command} is not installed on this machine; run this on one that has the commands of SLURM")

"""What is known about a submission, for people and programs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from .....datasets.errors import InputError, JobError
from . import commands
from .claims import claimed
from .submission import current


def describe(gallery: Path) -> dict[str, Any] | None:
    """What the tasks of a gallery's submission have done, and how many there are in each of SLURM's states.

    Returns:
        None if there is no submission. `problem` is why SLURM cannot be asked, None if it was.
    """
    submission = current(gallery)
    if submission is None:
        return None
    tasks: Counter[str] = Counter()
    problem = None
    try:
        tasks.update(task.state.lower() for task in commands.living(submission.name))
    except (InputError, JobError) as error:
        problem = str(error)
    ended = submission.ended()
    return {
        "name": submission.name,
        "array": submission.state.array,
        "shards": submission.num_jobs,
        "shards_embedded": len(ended),
        "shards_begun": len(set(claimed(submission.folder / "claims")) - ended),
        "tasks": dict(sorted(tasks.items())),
        "problem": problem,
        "logs": str(submission.logs),
    }

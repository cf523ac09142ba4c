"""Embedding by SLURM without waiting: the submission, and what its jobs call."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ...datasets.errors import DiantuError
from ...datasets.types import Shard
from ..encoders import load_encoder
from ..store.ledger import Ledger
from .executors.slurm import commands
from .executors.slurm.executor import Finishing, Slurm, SubmittedAgain
from .executors.slurm.submission import Submission, current, running
from .executors.slurm.task import run_task
from .job import Summary, embed_with, planned

log = logging.getLogger(__name__)


def submit(executor: Slurm, shards: Sequence[Shard], gallery: Path) -> None:
    """Submits what a gallery lacks: an array whose tasks embed, and a last task that commits and reports.

    Submitting twice is safe: while SLURM works on a gallery, nothing is submitted. The log says what was done.

    Args:
        executor: knows how.
        shards: the result of `find_shards`.
        gallery: the gallery's folder, which is created if it does not exist.

    Raises:
        InputError: if the gallery belongs to other encoders or settings, another job is writing to it, or SLURM refuses
            the jobs.
    """
    gallery = Path(gallery)
    submission = current(gallery)
    if submission and (tasks := commands.living(submission.name)):
        log.info("%s; shards that were added since need another run when it has ended", running(submission, tasks))
        return
    with planned(executor, shards, gallery) as jobs:
        if not jobs:
            log.info("%s has all these shards; nothing was submitted", gallery)
            return
        submission = executor.submit(jobs, gallery)
    log.info(
        "submitted %d shards as the jobs %s (follow them: diantu status --gallery %s; cancel them: scancel --name=%s; "
        "logs and report: %s)",
        *(submission.num_jobs, submission.name, gallery, submission.name, submission.logs),
    )


def finish(submission: Submission) -> Summary:
    """Commits what the tasks of a submission have written, in its last task.

    Raises:
        SubmittedAgain: if shards are left.
        JobError: if shards are left and no task ends one.
    """
    encoders = [load_encoder(name, device="cpu") for name in submission.state.work.encoders]
    return embed_with(Finishing(submission, encoders), [], submission.gallery)


def main() -> None:
    """What the batch script calls: `task` or `last`, the gallery and the name of the submission."""
    kind, gallery, name = sys.argv[1:]
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("diantu").setLevel(logging.INFO)
    try:
        submission = Submission(Path(gallery), name)
        sys.exit(_last(submission) if kind == "last" else run_task(submission))
    except (DiantuError, OSError) as error:
        sys.exit(f"diantu: {error}")


def _last(submission: Submission) -> int:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # the warning before the time limit is for the other tasks
    try:
        summary = finish(submission)
    except SubmittedAgain as again:
        log.info("%s", again)
        return 0
    for part in summary.quarantined:
        log.error("shard left out: %s", part.quarantined)
    for reason in summary.lacking:
        log.error("part not completed: %s", reason)
    progress = Ledger(submission.gallery).progress()
    log.info(
        "%d rows from %d of %d shards, %d samples left out",
        progress.num_rows,
        len(progress.parts) - len(progress.quarantined),
        progress.num_shards,
        sum(progress.failures.values()),
    )
    return 1 if summary.quarantined or summary.lacking else 0

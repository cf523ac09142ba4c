"""Claims: which task has begun which job."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from .beats import Beats, Owner, owners

# Tasks that may die over a job before it is given up.
MOST_DEATHS = 3
# A task that SLURM has started again was on a machine that was lost or preempted, which says little about its jobs.
MOST_STARTS = 10


def claimed(folder: Path) -> dict[int, list[int]]:
    """The jobs that tasks have begun, and the numbers of their claims in order."""
    found: dict[int, list[int]] = {}
    for name in os.listdir(folder):
        job, _, number = name.partition(".")
        found.setdefault(int(job), []).append(int(number))
    return {job: sorted(numbers) for job, numbers in found.items()}


def is_given_up(begun_by: Sequence[Owner], all_owners: Sequence[Owner]) -> bool:
    """Whether too many tasks have died over a job."""
    restarted = sum(any(owner.came_before(other) for other in all_owners) for owner in begun_by)
    return len(begun_by) - restarted >= MOST_DEATHS or len(begun_by) >= MOST_STARTS


def owner_of(folder: Path, index: int, number: int) -> Owner | None:
    """Who has made a claim; None if it was released."""
    try:
        return Owner.of(os.readlink(folder / f"{index}.{number}"))
    except FileNotFoundError:
        return None


class Claims:
    """The claims on the jobs of a submission, as one of its tasks sees them."""

    def __init__(self, folder: Path, ended: Path, num_jobs: int, beats: Beats) -> None:
        """Claims nothing yet.

        Args:
            folder: `claims/` of the submission.
            ended: its folder `ended/`.
            num_jobs: jobs are numbers below this.
            beats: our own lease, and those of others.
        """
        self._folder = folder
        self._ended = ended
        self._num_jobs = num_jobs
        self._beats = beats
        self._mine: dict[int, int] = {}

    def fresh(self, start: int = 0) -> Iterator[int]:
        """Claims jobs that nobody has begun, one by one.

        Args:
            start: the job to begin with. Tasks that begin at different ones seldom want the same.
        """
        begun = set(claimed(self._folder))
        for index in (*range(start, self._num_jobs), *range(start)):
            if index not in begun and self._claim(index, 0):
                yield index

    def orphan(self) -> int | None:
        """Claims a job that was begun by tasks which have all ended; None if there is none.

        It must be run alone, so that no other job is blamed if it ends us, too.
        """
        ended = {int(name.partition(".")[0]) for name in os.listdir(self._ended) if not name.startswith(".")}
        begun, everybody = claimed(self._folder), owners(self._beats.folder)
        for index in range(self._num_jobs):
            if index in ended or index in self._mine:
                continue
            numbers = begun.get(index, [])
            begun_by = [owner for number in numbers if (owner := owner_of(self._folder, index, number))]
            is_free = all(map(self._beats.is_dead, begun_by)) and not is_given_up(begun_by, everybody)
            if is_free and self._claim(index, numbers[-1] + 1 if numbers else 0):
                return index
        return None

    def finished(self, index: int) -> None:
        """Notes that a job has ended. Its claims stay, so that nobody tries it again."""
        self._mine.pop(index, None)

    def release(self) -> None:
        """Gives back the jobs that have not ended, as if they had not been begun."""
        for index, number in self._mine.items():
            with suppress(FileNotFoundError):
                self._path(index, number).unlink()
        self._mine.clear()

    def _claim(self, index: int, number: int) -> bool:
        """Creates a claim, unless there is one: one step on any file system, also on NFS."""
        path = self._path(index, number)
        try:
            path.symlink_to(str(self._beats.owner))
        except FileExistsError:
            # NFS may repeat a request whose answer was lost, and then fails although the claim is ours.
            if owner_of(self._folder, index, number) != self._beats.owner or index in self._mine:
                return False
        self._mine[index] = number
        return True

    def _path(self, index: int, number: int) -> Path:
        return self._folder / f"{index}.{number}"

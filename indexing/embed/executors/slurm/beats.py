"""Leases: each task renews a file, and watches those of the others."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

# A network file system may show a change one minute late.
LEASE_SECONDS = 180.0
_PER_LEASE = 6  # renewals


@dataclass(frozen=True, slots=True)
class Owner:
    """One start of a task: `12_3.0` is the first start of task 3 of the array job 12."""

    array: str
    task: int
    restart: int

    @classmethod
    def of(cls, name: str) -> Owner:
        """The owner that a file or a claim names."""
        task, _, restart = name.rpartition(".")
        array, _, number = task.rpartition("_")
        return cls(array, int(number), int(restart))

    def __str__(self) -> str:
        return f"{self.array}_{self.task}.{self.restart}"

    def came_before(self, other: Owner) -> bool:
        """Whether SLURM has started the task again since."""
        return (self.array, self.task) == (other.array, other.task) and self.restart < other.restart


def owners(folder: Path) -> list[Owner]:
    """All that have ever had a lease."""
    return [Owner.of(name) for name in os.listdir(folder)]


class Beats:
    """The files of all running tasks, as one of them sees them.

    A lease has expired if its file does not change for `lease_seconds` of our own clock, so the clocks of machines need
    not agree. Use it as a context manager: a thread renews and watches until it is left. The file stays, and tells that
    the task was there.
    """

    def __init__(self, folder: Path, owner: Owner, *, lease_seconds: float = LEASE_SECONDS) -> None:
        """Starts nothing yet.

        Args:
            folder: `beats/` of the submission.
            owner: who we are.
            lease_seconds: how long a lease lasts.
        """
        self.owner = owner
        self.folder = folder
        self._lease_seconds = lease_seconds
        self._changed: dict[Owner, tuple[int, float]] = {}  # by owner: its file's time, and when we saw that first
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="leases", daemon=True)
        self.is_lost = False

    def __enter__(self) -> Beats:
        (self.folder / str(self.owner)).touch()
        self.watch()
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join()

    def is_dead(self, owner: Owner) -> bool:
        """Whether a task belongs to an array that has ended, or was started again, or its lease has expired."""
        if owner.array != self.owner.array:  # the next one is submitted when all tasks of the last one have ended
            return True
        with self._lock:
            if owner not in self._changed:
                self._see()  # it may have begun a moment ago
            if any(owner.came_before(other) for other in self._changed):
                return True
            _, since = self._changed.get(owner, (0, float("-inf")))
        return time.monotonic() - since > self._lease_seconds

    def watch(self) -> None:
        """Looks at the files of all tasks."""
        with self._lock:
            self._see()

    def _see(self) -> None:
        now = time.monotonic()
        seen: dict[Owner, tuple[int, float]] = {}
        with os.scandir(self.folder) as entries:
            for entry in entries:
                try:
                    changed = entry.stat().st_mtime_ns
                except FileNotFoundError:
                    continue
                owner = Owner.of(entry.name)
                before = self._changed.get(owner)
                seen[owner] = before if before and before[0] == changed else (changed, now)
        self._changed = seen

    def _keep(self) -> None:
        while not self._ended.wait(self._lease_seconds / _PER_LEASE):
            try:
                os.utime(self.folder / str(self.owner))
                self.watch()
            except FileNotFoundError:  # the submission is over without us
                self.is_lost = True
                return
            except OSError:  # of the network: the next renewal may succeed, and a lease that expires does no harm
                continue

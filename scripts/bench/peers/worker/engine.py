"""What every engine can do."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

import numpy as np

from .job import Job, K


class Engine:
    """A library that builds an index and searches it.

    Attributes:
        breadth: the name of the search parameter that is raised until the target recall is reached; empty if there is
            none.
        modules: modules to import before anything is timed.
    """

    breadth = ""
    modules: tuple[str, ...] = ()

    def build(self, job: Job) -> dict[str, Any]:
        """Builds the index, saves it in the job's folder, and returns facts about it."""
        raise NotImplementedError

    def open(self, job: Job) -> None:
        """Opens the saved index, to search with one thread."""
        raise NotImplementedError

    def limits(self, target: float) -> tuple[int, int]:
        """The smallest and the largest breadth to try for a target recall."""
        del target
        return K, 4096

    def set_breadth(self, breadth: int) -> None:
        """Sets the breadth of all searches after this."""

    def search(self, queries_QD: np.ndarray) -> np.ndarray:
        """Searches with one thread; returns `rows_QK`."""
        raise NotImplementedError

    def extra(self, job: Job) -> dict[str, Any]:
        """Returns further facts, measured after the index was opened."""
        del job
        return {}

    def load_modules(self) -> None:
        """Imports what the engine needs."""
        for name in self.modules:
            importlib.import_module(name)


def note(text: str) -> None:
    """Writes a line to the engine's log, which is stderr."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)

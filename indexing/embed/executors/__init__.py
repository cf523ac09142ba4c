"""Executors: jobs in, commit records out. Where the loop runs is their affair alone."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Protocol

from ...encoders.spec import EncoderSpec
from ...store.ledger import Job
from ..events import Event
from .local import InProcess, LocalProcesses

__all__ = ["Executor", "InProcess", "LocalProcesses"]


class Executor(Protocol):
    """Runs jobs. Every job ends in one event, `Committed` or `Broken`, whoever ran it; the order is free."""

    @property
    def specs(self) -> Sequence[EncoderSpec]:
        """The encoders that the jobs go through, the main space's first."""
        ...

    @property
    def encodes_texts(self) -> bool:
        """Whether the first encoder has a text side."""
        ...

    @property
    def texts(self) -> bool:
        """Whether captions are embedded too."""
        ...

    def run(self, jobs: Sequence[Job], gallery: Path) -> Generator[Event, None, None]:
        """Runs jobs to their end and tells what happens."""
        ...

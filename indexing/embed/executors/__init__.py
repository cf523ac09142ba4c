"""Executors: jobs in, events out. Only the executor knows where the loop runs."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Protocol

from ...encoders.spec import EncoderSpec
from ...store.ledger import ShardJob
from ..events import Event
from .in_process import InProcess
from .local_processes import LocalProcesses
from .slurm.executor import Slurm

__all__ = ["Executor", "InProcess", "LocalProcesses", "Slurm"]


class Executor(Protocol):
    """Runs jobs somewhere: in this process, in others, on other machines.

    To add one, write a class with these four members (it need not inherit from this one) and pass an instance to
    `embed_with`. Wherever the work is done, call `run_jobs(jobs, gallery, encoders, settings)` and pass its events on.

    For example, an executor for a cluster sends the jobs, the path of the gallery and the names of the encoders to its
    machines, which call `load_encoder` and `run_jobs` and send back the events. Jobs and events can be pickled. Every
    machine must see the same gallery folder and the same shards.
    """

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
        """Whether captions are embedded as well."""
        ...

    def run(self, jobs: Sequence[ShardJob], gallery: Path) -> Generator[Event, None, None]:
        """Runs all jobs, in any order, and yields their events.

        Every job ends in `Written` or `Broken`. A job may be run twice, also at once: what ends first counts. It is
        called again, with fewer jobs, if shards could not be read. What a process writes after the caller has closed
        the generator is dropped. An error that is not about a shard is raised; the next run completes what was not
        finished.
        """
        ...

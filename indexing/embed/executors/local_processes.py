"""The loop in several processes of this machine, usually one process per GPU, which ask for shards one by one."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

from ....datasets.errors import JobError
from ...encoders import Runtime
from ...encoders.spec import EncoderSpec, Precision
from ...store.ledger import ShardJob
from ..events import Event
from ..forks import end_with_parent, ended, forkserver, ignore_gone_readers
from ..loop import LoopSettings
from .messages import Failed, Ready
from .rounds import Assignments
from .working import Work, do_work


class LocalProcesses:
    """Runs the loop in several processes of this machine. Each loads its own encoders and takes jobs from the parent.

    A process that dies is replaced, and what it had not finished is tried again; see `Assignments`. Use it as a context
    manager: leaving it ends the processes. A process whose parent dies ends itself.
    """

    def __init__(
        self,
        encoders: Sequence[str],
        settings: LoopSettings,
        *,
        devices: Sequence[str],
        precision: Precision,
        runtime: Runtime = "auto",
    ) -> None:
        """Starts no process yet.

        Args:
            encoders: names as in `load_encoder`, the main space's first.
            settings: of the loop in every process.
            devices: one per process, as in `load_encoder`.
            precision: as in `load_encoder`.
            runtime: as in `load_encoder`.
        """
        self._settings = settings
        # What each process is started with, as often as it must be.
        self._work = [
            Work(encoders=list(encoders), device=device, precision=precision, runtime=runtime, settings=settings)
            for device in devices
        ]
        self._workers: list[_Worker] = []
        self._stopped: list[int] = []  # processes that are busy with what nobody wants any more

    def __enter__(self) -> LocalProcesses:
        try:
            self._workers = [_Worker(work) for work in self._work]
            ready = [worker.wait_until_ready() for worker in self._workers]
        except BaseException:
            self.__exit__()
            raise
        self._ready = ready[0]
        return self

    def __exit__(self, *exc_info: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.end()

    @property
    def specs(self) -> Sequence[EncoderSpec]:
        """See `Executor`."""
        return self._ready.specs

    @property
    def encodes_texts(self) -> bool:
        """See `Executor`."""
        return self._ready.encodes_texts

    @property
    def texts(self) -> bool:
        """See `Executor`."""
        return self._settings.texts

    def run(self, jobs: Sequence[ShardJob], gallery: Path) -> Generator[Event, None, None]:
        """See `Executor`.

        Raises:
            JobError: if processes die one after another; the next run completes what was not finished.
        """
        for number in self._stopped:
            self._workers[number].process.terminate()
            self._replace(number)
        assignments = Assignments(jobs)
        try:
            yield from self._run(assignments, gallery)
        finally:
            self._stopped = assignments.busy  # none, unless the caller has stopped or an error ends the job

    def _run(self, assignments: Assignments, gallery: Path) -> Iterator[Event]:
        while not assignments.is_done:
            for number, worker in enumerate(self._workers):
                for message in assignments.messages(number, gallery):
                    worker.send(message)
            for number in self._with_news():
                try:
                    message = self._workers[number].connection.recv()
                except (EOFError, OSError):  # also in the middle of a message
                    exit_code = self._replace(number)
                    yield from assignments.died(number, f"exit code {exit_code}")
                    continue
                if isinstance(message, Failed):
                    raise message.error
                if not isinstance(message, Ready):
                    yield from assignments.heard(number, message)

    def _replace(self, number: int) -> int | None:
        """Starts a process in place of one that has died or must end; returns the exit code of that."""
        exit_code = self._workers[number].end()
        self._workers[number] = _Worker(self._work[number])
        return exit_code

    def _with_news(self) -> list[int]:
        """Waits until processes have sent something, or have died; returns their numbers."""
        ready = wait([worker.connection for worker in self._workers])
        return [number for number, worker in enumerate(self._workers) if worker.connection in ready]


class _Worker:
    """A process, and the connection to it."""

    def __init__(self, work: Work) -> None:
        context = forkserver()
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(work, theirs))
        self.process.start()
        theirs.close()  # so that the end of the process is the end of what it sends

    def wait_until_ready(self) -> Ready:
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            raise JobError(f"an embedding process died while it started (exit code {self.end()})") from None
        if isinstance(message, Failed):
            raise message.error
        assert isinstance(message, Ready), f"expected a process to be ready, got {message}"
        return message

    def send(self, message: object) -> None:
        """Sends something, unless the process has died, which is noticed when it is listened to."""
        with suppress(OSError):
            self.connection.send(message)

    def end(self) -> int | None:
        """Waits for the end of the process, for a while; returns its exit code."""
        exit_code = ended(self.process)
        self.connection.close()
        return exit_code


def _work(work: Work, connection: Connection) -> None:
    """The main function of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group, but the parent ends us
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # an orderly exit, so that our decoding workers end too
    ignore_gone_readers()
    end_with_parent()  # so that no orphan computes for nobody
    do_work(work, connection)

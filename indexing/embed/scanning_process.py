"""Scanning in a process of its own.

A scan walks over every header of a shard in Python (0.05 ms per image), and a chunk is pickled for the worker that
decodes it. The job's own process, which must keep a GPU busy, only passes the pickled chunks on.
"""

from __future__ import annotations

import logging
import pickle
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ...datasets.errors import DiantuError, JobError
from ..store.ledger import ShardJob
from .events import Event
from .forks import end_with_parent, ended, forkserver
from .scanning import Chunk, Scanner

_ROOT = __name__.partition(".")[0]  # the logger above all of ours


@dataclass(frozen=True, slots=True)
class Packed:
    """A chunk as it was pickled, so that it is not pickled again on its way to a worker."""

    data: bytes

    def unpack(self) -> Chunk:
        """The chunk."""
        return pickle.loads(self.data)


class _NoMore:
    """The chunks of a job have all been sent."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """The process ends because of an error."""

    error: Exception


@contextmanager
def scanned_beside(
    jobs: Iterable[ShardJob], gallery: Path, batch_size: int, on_event: Callable[[Event], None]
) -> Generator[Generator[Packed, None, None], None, None]:
    """As `scanned`, in another process, which ends with the context.

    Raises:
        JobError: if that process dies.
    """
    context = forkserver()
    connection, theirs = context.Pipe()
    level = logging.getLogger(_ROOT).getEffectiveLevel()
    process = context.Process(target=_work, args=(gallery, batch_size, level, theirs))
    process.start()
    theirs.close()  # so that the end of the process is the end of what it sends
    try:
        yield _received(jobs, process, connection, on_event)
    finally:
        process.terminate()
        ended(process)
        connection.close()


def _received(
    jobs: Iterable[ShardJob], process: BaseProcess, connection: Connection, on_event: Callable[[Event], None]
) -> Generator[Packed, None, None]:
    for job in jobs:
        for message in _answers(job, process, connection):
            if isinstance(message, _Failed):
                raise message.error
            if isinstance(message, logging.LogRecord):
                logging.getLogger(message.name).handle(message)
            elif isinstance(message, Packed):
                yield message
            else:
                on_event(message)


def _answers(job: ShardJob, process: BaseProcess, connection: Connection) -> Iterator[Any]:
    """All that the process sends about a job."""
    try:
        connection.send(job)
        while not isinstance(message := connection.recv(), _NoMore):
            yield message
    except (EOFError, OSError):
        reason = f"the process that scans shards died (exit code {ended(process)})"
        raise JobError(f"{reason}; run the same command again, it goes on where this one ended") from None


def _work(gallery: Path, batch_size: int, level: int, connection: Connection) -> None:
    """The main function of the process."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()  # so that no orphan scans for nobody
    root = logging.getLogger()
    root.addHandler(_ToJob(connection))
    root.setLevel(level)
    try:
        scanner = Scanner(gallery, batch_size)
        while True:
            for found in scanner.scan(connection.recv()):
                connection.send(Packed(pickle.dumps(found, -1)) if isinstance(found, Chunk) else found)
            connection.send(_NoMore())
    except (DiantuError, OSError) as error:
        with suppress(OSError):  # there may be nobody any more at the other end
            connection.send(_Failed(error))
    except EOFError:  # the job has ended
        pass
    except Exception as error:  # raised again in the job; an error of another type may fail to unpickle there
        connection.send(_Failed(RuntimeError(f"{type(error).__name__}: {error}")))


class _ToJob(QueueHandler):
    """Sends what is logged to the job, which knows where it belongs."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)  # type: ignore[arg-type] - only `enqueue` uses it

    def enqueue(self, record: logging.LogRecord) -> None:
        """Sends a record."""
        self.queue.send(record)  # type: ignore[attr-defined]

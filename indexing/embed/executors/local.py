"""This machine: the loop in the calling process, or one process a GPU, all pulling shards from one queue."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....datasets.errors import InputError
from ...encoders import ImageEncoder, TextEncoder, load_encoder
from ...encoders.spec import EncoderSpec
from ...store.ledger import Job
from ..events import Event
from ..loop import LoopSettings, run_jobs

_POLL_SECONDS = 0.5
_LIFE_SECONDS = 0.1
_GOODBYE_SECONDS = 15.0


class InProcess:
    """Runs the loop here, on encoders that are loaded already."""

    def __init__(self, encoders: Sequence[ImageEncoder], settings: LoopSettings) -> None:
        self._encoders = list(encoders)
        self._settings = settings

    @property
    def specs(self) -> Sequence[EncoderSpec]:
        """See `Executor`."""
        return [encoder.spec for encoder in self._encoders]

    @property
    def encodes_texts(self) -> bool:
        """See `Executor`."""
        return isinstance(self._encoders[0], TextEncoder)

    @property
    def texts(self) -> bool:
        """See `Executor`."""
        return self._settings.texts

    def run(self, jobs: Sequence[Job], gallery: Path) -> Generator[Event, None, None]:
        """See `Executor`."""
        return run_jobs(jobs, gallery, self._encoders, self._settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A process has loaded its encoders."""

    specs: Sequence[EncoderSpec]
    encodes_texts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failed:
    """A process ends because of an error."""

    error: Exception


class _RoundOver:
    """A process has found the queue of jobs empty."""


class LocalProcesses:
    """Runs the loop in several processes. Each loads its own encoders and takes the next shard when it is ready for it.

    Use it as a context: leaving it ends the processes. A process whose parent dies ends itself.
    """

    def __init__(self, encoders: Sequence[str], devices: Sequence[str], precision: str, settings: LoopSettings) -> None:
        context = multiprocessing.get_context("spawn")
        self._settings = settings
        self._jobs: Any = context.Queue()
        self._events: Any = context.Queue()
        self._rounds = [context.SimpleQueue() for _ in devices]
        self._processes = [
            context.Process(
                target=_work,
                args=(list(encoders), device, precision, settings, self._jobs, self._events, rounds, os.getpid()),
            )
            for device, rounds in zip(devices, self._rounds, strict=True)
        ]

    def __enter__(self) -> LocalProcesses:
        for process in self._processes:
            process.start()
        try:
            ready = [self._wait() for _ in self._processes]
        except BaseException:
            self.__exit__()
            raise
        first = ready[0]
        assert isinstance(first, _Ready), f"expected a process to be ready, got {first}"
        self._ready = first
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(_GOODBYE_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()

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

    def run(self, jobs: Sequence[Job], gallery: Path) -> Generator[Event, None, None]:
        """See `Executor`.

        Raises:
            RuntimeError: if a process dies; what it had not committed is done by the next run.
        """
        for job in [*jobs, *(None for _ in self._processes)]:
            self._jobs.put(job)
        for rounds in self._rounds:
            rounds.put(gallery)
        working = len(self._processes)
        while working:
            event = self._wait()
            if isinstance(event, _RoundOver):
                working -= 1
            else:
                yield event

    def _wait(self) -> Any:
        while True:
            try:
                event = self._events.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                dead = [process for process in self._processes if not process.is_alive()]
                if dead:
                    codes = ", ".join(str(process.exitcode) for process in dead)
                    raise RuntimeError(f"{len(dead)} of the embedding processes died (exit codes {codes})") from None
                continue
            if isinstance(event, _Failed):
                raise event.error
            return event


def _work(
    names: list[str],
    device: str,
    precision: str,
    settings: LoopSettings,
    jobs: Any,
    events: Any,
    rounds: Any,
    parent: int,
) -> None:
    """What a process does: load, then for every round take jobs until there are none left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group, but the parent ends us

    def leave(*_: object) -> None:  # in order, so that our decoding workers end too
        events.cancel_join_thread()  # the parent has stopped listening
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        encoders = [load_encoder(name, device=device, precision=precision) for name in names]
        specs = [encoder.spec for encoder in encoders]
        events.put(_Ready(specs=specs, encodes_texts=isinstance(encoders[0], TextEncoder)))
        while True:
            gallery = rounds.get()
            for event in run_jobs(iter(jobs.get, None), gallery, encoders, settings):
                events.put(event)
            events.put(_RoundOver())
    except (InputError, OSError) as error:
        events.put(_Failed(error=error))
    except Exception as error:  # raised again in the parent; of an unknown type it might not survive the way there
        events.put(_Failed(error=RuntimeError(f"{type(error).__name__}: {error}")))


def _end_with(parent: int) -> None:
    """Ends this process when its parent has died, so that no orphan writes into a gallery whose lock is free again."""
    while os.getppid() == parent:
        time.sleep(_LIFE_SECONDS)
    os._exit(1)

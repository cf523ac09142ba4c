"""The loop in several processes of this machine, usually one process per GPU, which take shards from one queue."""

from __future__ import annotations

import queue
import signal
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from multiprocessing.queues import Queue, SimpleQueue
from pathlib import Path

from ....datasets.errors import FileError, InputError, JobError
from ...encoders import Runtime, TextEncoder, load_encoder
from ...encoders.spec import EncoderSpec, Precision
from ...store.ledger import ShardJob
from ..events import Event
from ..forks import end_with_parent, forkserver, ignore_gone_readers
from ..loop import LoopSettings, run_jobs

_POLL_SECONDS = 0.5  # between checks that all processes live, while no event arrives
_GOODBYE_SECONDS = 15.0  # for a process to end in order, before it is killed


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
    """A process has taken its last job of a round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Channels:
    """How a process and its parent talk. All processes share the first two; each has its own third."""

    jobs: Queue[ShardJob | None]  # None ends a round, one for each process
    events: Queue[Event | _Ready | _Failed | _RoundOver]
    rounds: SimpleQueue[Path]  # the gallery of every round


class LocalProcesses:
    """Runs the loop in several processes of this machine. Each loads its own encoders and takes jobs from one queue.

    Use it as a context manager: leaving it ends the processes. A process whose parent dies ends itself.
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
        context = forkserver()
        self._settings = settings
        jobs, events = context.Queue(), context.Queue()
        self._channels = [_Channels(jobs=jobs, events=events, rounds=context.SimpleQueue()) for _ in devices]
        self._jobs, self._events = jobs, events
        self._processes = [
            context.Process(target=_work, args=(list(encoders), device, precision, runtime, settings, channels))
            for device, channels in zip(devices, self._channels, strict=True)
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

    def run(self, jobs: Sequence[ShardJob], gallery: Path) -> Generator[Event, None, None]:
        """See `Executor`.

        Raises:
            JobError: if a process dies; the next run completes what it had not committed.
        """
        for job in [*jobs, *(None for _ in self._processes)]:
            self._jobs.put(job)
        for channels in self._channels:
            channels.rounds.put(gallery)
        working = len(self._processes)
        while working:
            event = self._wait()
            if isinstance(event, _RoundOver):
                working -= 1
            else:
                assert not isinstance(event, _Ready), "all processes were ready before the first round"
                yield event

    def _wait(self) -> Event | _Ready | _RoundOver:
        while True:
            try:
                event = self._events.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                dead = [process for process in self._processes if not process.is_alive()]
                if dead:
                    codes = ", ".join(str(process.exitcode) for process in dead)
                    raise JobError(f"{len(dead)} of the embedding processes died (exit codes {codes})") from None
                continue
            if isinstance(event, _Failed):
                raise event.error
            return event


def _work(
    names: list[str], device: str, precision: Precision, runtime: Runtime, settings: LoopSettings, channels: _Channels
) -> None:
    """The main function of a process: load the encoders, then in every round take jobs until none are left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group, but the parent ends us

    def leave(*_: object) -> None:  # an orderly exit, so that our decoding workers end too
        channels.events.cancel_join_thread()  # the parent no longer reads
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)
    ignore_gone_readers()
    end_with_parent()  # so that no orphan writes into a gallery whose lock is free again
    try:
        encoders = [load_encoder(name, device=device, precision=precision, runtime=runtime) for name in names]
        specs = [encoder.spec for encoder in encoders]
        channels.events.put(_Ready(specs=specs, encodes_texts=isinstance(encoders[0], TextEncoder)))
        while True:
            gallery = channels.rounds.get()
            for event in run_jobs(iter(channels.jobs.get, None), gallery, encoders, settings):
                channels.events.put(event)
            channels.events.put(_RoundOver())
    except (InputError, FileError, OSError) as error:
        channels.events.put(_Failed(error=error))
    except Exception as error:  # raised again in the parent; an error of another type may fail to unpickle there
        channels.events.put(_Failed(error=RuntimeError(f"{type(error).__name__}: {error}")))

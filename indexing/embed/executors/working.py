"""What a process that embeds does, wherever it runs: load the encoders, then take jobs until it is ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ....datasets.errors import DiantuError
from ...encoders import Runtime, TextEncoder, load_encoder
from ...encoders.spec import Precision
from ...store.ledger import ShardJob
from ..loop import LoopSettings, run_jobs
from .messages import Failed, Job, Ready, RoundOver, Taken


class Channel(Protocol):
    """The connection to the process that gives jobs; a `multiprocessing` connection is one."""

    def recv(self) -> Any:
        """Waits for the next message; raises `EOFError` if there is nobody any more at the other end."""
        ...

    def send(self, obj: Any, /) -> None:
        """Sends a message; raises `Abandoned` if the round is to end now, `OSError` if nobody would get it."""
        ...


class Abandoned(Exception):  # noqa: N818 - it is no error: what the round still had to do is not needed
    """A round ends before its jobs are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a process loads. `encoders` are names as in `load_encoder`, the main space's first."""

    encoders: Sequence[str]
    device: str
    precision: Precision
    runtime: Runtime
    settings: LoopSettings


def do_work(work: Work, channel: Channel) -> None:
    """Loads the encoders, then in every round takes jobs until none are left. Errors are sent, too."""
    try:
        encoders = [
            load_encoder(name, device=work.device, precision=work.precision, runtime=work.runtime)
            for name in work.encoders
        ]
        specs = [encoder.spec for encoder in encoders]
        channel.send(Ready(specs=specs, encodes_texts=isinstance(encoders[0], TextEncoder)))
        while True:
            while not isinstance(gallery := channel.recv(), Path):
                pass  # what was left of a round that was abandoned
            with suppress(Abandoned), closing(run_jobs(_jobs(channel), gallery, encoders, work.settings)) as events:
                for event in events:
                    channel.send(event)
            channel.send(RoundOver())
    except (DiantuError, OSError) as error:
        _send(channel, Failed(error=error))
    except EOFError:  # the parent has gone
        pass
    except Exception as error:  # raised again in the parent; an error of another type may fail to unpickle there
        _send(channel, Failed(error=RuntimeError(f"{type(error).__name__}: {error}")))


def _jobs(channel: Channel) -> Iterator[ShardJob]:
    """The jobs of a round. The parent sends another one as soon as it knows that one was taken."""
    while isinstance(message := channel.recv(), Job):
        channel.send(Taken())
        yield message.job


def _send(channel: Channel, message: object) -> None:
    """Sends something, unless there is nobody any more at the other end."""
    with suppress(OSError):
        channel.send(message)

"""What a process that embeds and the process that gives it jobs say to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...encoders.spec import EncoderSpec
from ...store.ledger import ShardJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A process has loaded its encoders."""

    specs: Sequence[EncoderSpec]
    encodes_texts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A process ends because of an error."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Job:
    """The next job of a round, for a process."""

    job: ShardJob


class NoMore:
    """There are no more jobs in this round, so a process finishes those that it has."""


class Taken:
    """A process has begun a job."""


class RoundOver:
    """A process has finished the last job of a round."""


class Stop:
    """What a process still has to do in this round is not needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Asks a process on another machine whether it sees these files of this machine, for some seconds if it must."""

    paths: Sequence[str]
    patience: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The answer to a `Look`: the first file that is missing there."""

    look: Look
    missing: str | None

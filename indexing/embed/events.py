"""What the loop tells while it runs: the same whether it runs here, in another process or on another machine."""

from __future__ import annotations

from dataclasses import dataclass

from ..store.ledger import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """A shard was scanned; `num_samples` is None where that is known only when it has been read."""

    num_samples: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A batch went through the encoders; its shard may still turn out to be broken."""

    num_images: int
    num_failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A part (or its vectors in further spaces) is on disk, with so many rows; `num_failed` samples were left out."""

    job: Job
    num_rows: int
    num_failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A shard failed as a whole, so nothing was written; `reason` is a sentence, see `ShardError` for `may_pass`."""

    job: Job
    reason: str
    may_pass: bool


Event = Scanned | Encoded | Committed | Broken

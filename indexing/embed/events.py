"""What the loop reports while it runs. Events are plain values, so they can come from another process or machine."""

from __future__ import annotations

from dataclasses import dataclass

from ..store.ledger import ShardJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """A shard was scanned; `num_samples` is None if the number is known only after reading the whole shard."""

    num_samples: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A batch went through the encoders; its shard may still turn out to be unreadable."""

    num_images: int
    num_failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A part (or its vectors in further spaces) is written with `num_rows` rows; `num_failed` samples were left out.

    It becomes a part of the gallery when the process that holds the gallery's lock accepts it. `attempt` is its folder,
    relative to the gallery. `notes` are pairs of a sample's key and what was left out beside its pixels.
    """

    job: ShardJob
    attempt: str
    num_rows: int
    num_failed: int
    notes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A whole shard failed, so nothing was written; `reason` is a sentence, see `ShardError` for `may_pass`."""

    job: ShardJob
    reason: str
    may_pass: bool


Event = Scanned | Encoded | Written | Broken

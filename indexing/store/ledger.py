"""The ledger: which shard has which part number, so that another try writes the same files.

`ledger.jsonl` has one line per part. Numbers are assigned once, in order, before work starts; a part is done when it
has a commit record. Work is keyed by shard, never by worker, so the number of workers may change between runs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ...datasets.checksums import DamagedError, damage, listed, read_checked, write_checked
from ...datasets.errors import InputError
from ...datasets.types import Shard
from .inventory import Inventory, Listed
from .layout import LEDGER, space_root
from .records import Part, committed, read_part

log = logging.getLogger(__name__)

# Files of a folder in one shard: few enough that a killed job loses little, enough that there are few parts.
FOLDER_SHARD = 1000
_PARSED = 1000  # lines at a time
_SHARD_FIELDS = [field.name for field in fields(Shard)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardJob:
    """One unit of work: a shard and the number of the part that it becomes.

    `spaces` is empty for a new part. Otherwise the part exists, and the job adds its vectors in these further spaces.
    """

    part: int
    shard: Shard
    spaces: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[int, tuple[str, ...]]:
        """What tells a job from the others of a run."""
        return self.part, self.spaces


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a gallery has so far; `quarantined` are shards that could not be read at all, and did not succeed later."""

    num_shards: int
    parts: tuple[Listed, ...]
    quarantined: tuple[Part, ...]

    @property
    def num_rows(self) -> int:
        """Rows of all committed parts."""
        return sum(part.num_rows for part in self.parts)

    @property
    def failures(self) -> dict[str, int]:
        """The number of samples left out, by reason."""
        counts: dict[str, int] = {}
        for part in self.parts:
            for reason, count in part.failures.items():
                counts[reason] = counts.get(reason, 0) + count
        return dict(sorted(counts.items()))


class Ledger:
    """The assignments of one gallery. Change it only while you hold the gallery's lock."""

    def __init__(self, root: Path) -> None:
        """Reads the ledger. Its lines are parsed when they are needed, if a checksum says that they are right.

        Raises:
            InputError: if it is damaged.
        """
        self._root = root
        self._path = root / LEDGER
        self._lines = (read_ledger(root) or b"").splitlines(keepends=True)
        if LEDGER not in listed(root):  # as in earlier releases
            self._jobs  # noqa: B018

    @cached_property
    def _jobs(self) -> list[ShardJob]:
        return list(_parsed(self._lines, self._path))

    @property
    def jobs(self) -> tuple[ShardJob, ...]:
        """All assignments, in the order of numbers."""
        return tuple(self._jobs)

    def assign(
        self, shards: Sequence[Shard], can_scan: Callable[[Shard], bool] = lambda shard: False
    ) -> list[ShardJob]:
        """Assigns numbers to shards that have none, and returns all jobs that are not done, in the order of numbers.

        Images of a folder that already belong to a part stay there; new ones become new shards at the end. A shard that
        was quarantined gets a new number as soon as `can_scan` is true for it.

        Raises:
            InputError: if the ledger is missing or does not fit the gallery.
        """
        inventory = Inventory(self._root)
        done = inventory.parts
        if done and max(done) >= len(self._lines):
            raise InputError(
                f"{self._path} is missing or does not fit the parts of the gallery; restore it from a copy"
            )
        self._warn_of_copies(shards)
        known: dict[tuple[str, str], list[int]] = {}
        for job in self._jobs:
            known.setdefault((job.shard.uri, job.shard.format), []).append(job.part)
        for shard in shards:
            parts = known.setdefault((shard.uri, shard.format), [])
            for piece in self._new_pieces(shard, [self._jobs[part] for part in parts], done, can_scan):
                parts.append(len(self._jobs))
                self._put(ShardJob(part=len(self._jobs), shard=piece))
        write_checked(self._root, LEDGER, b"".join(self._lines))
        inventory.save()
        return [job for job in self._jobs if job.part not in done]

    def lacking(self, spaces: Sequence[str]) -> list[ShardJob]:
        """The jobs that add vectors in further spaces to existing parts."""
        if not spaces:
            return []
        done = {space: committed(space_root(self._root, space)) for space in spaces}
        found = []
        for number, part in Inventory(self._root).parts.items():
            missing = tuple(space for space in spaces if number not in done[space])
            if missing and part.num_rows:
                found.append(replace(self._jobs[number], spaces=missing))
        return found

    def shard_id(self, number: int) -> str | None:
        """The identity of the shard that became, or will become, a part; None for a part that is not assigned."""
        return self._jobs[number].shard.id if number < len(self._lines) else None

    def progress(self) -> Progress:
        """What is done, left out and still to do."""
        parts = tuple(Inventory(self._root).parts.values())
        succeeded = {part.shard_id for part in parts if not part.is_quarantined}
        left_out = (part.number for part in parts if part.is_quarantined and part.shard_id not in succeeded)
        quarantined = tuple(part for number in left_out if (part := read_part(self._root, number)) is not None)
        return Progress(num_shards=len(self._lines), parts=parts, quarantined=quarantined)

    def _put(self, job: ShardJob) -> None:
        """Adds a job, or replaces the one of the same part."""
        self._jobs[job.part : job.part + 1] = [job]
        self._lines[job.part : job.part + 1] = [_to_json(job)]

    def _warn_of_copies(self, shards: Sequence[Shard]) -> None:
        """Warns about moved or copied shards. Their path identifies shards, so the images would be there twice."""
        known = {job.shard.uri for job in self._jobs}
        sizes = {(job.shard.uri.rpartition("/")[2], job.shard.size_bytes): job.shard.uri for job in self._jobs}
        for shard in shards:
            twin = sizes.get((shard.uri.rpartition("/")[2], shard.size_bytes))
            if twin and shard.uri not in known:
                log.warning("%s looks like %s, which the gallery has: its images will be there twice", shard.uri, twin)

    def _new_pieces(
        self,
        shard: Shard,
        known: Sequence[ShardJob],
        done: Mapping[int, Listed],
        can_scan: Callable[[Shard], bool],
    ) -> list[Shard]:
        """What of a shard has no number yet, given the jobs that the same shard has."""
        for job in known:
            if job.part not in done:  # not committed, so it can still use what the user gives now
                updated = replace(job.shard, captions=shard.captions)
                updated = updated if shard.members else replace(updated, size_bytes=shard.size_bytes)
                if updated != job.shard:
                    self._put(replace(job, shard=updated))
        if shard.members:
            fresh = shard.without({member for job in known for member in job.shard.members})
            return list(fresh.split(FOLDER_SHARD)) if fresh.members else []
        if not known:
            return [shard]
        part = done.get(known[-1].part)
        if part is not None and not part.is_quarantined and part.size_bytes != shard.size_bytes:
            log.warning("%s has changed since it was embedded; its rows stay as they are", shard.uri)
        return [shard] if part is not None and part.is_quarantined and can_scan(shard) else []


def _to_json(job: ShardJob) -> bytes:
    # As 0.1.0 wrote it, which knew one table or none: the same sources must not change a byte.
    shard = job.shard
    captions = list(shard.captions) if len(shard.captions) > 1 else next(iter(shard.captions), None)
    fields = {name: getattr(shard, name) for name in _SHARD_FIELDS}  # `asdict` takes ten times as long
    return (json.dumps({"part": job.part, "shard": {**fields, "captions": captions}}) + "\n").encode()


def read_ledger(root: Path) -> bytes | None:
    """The bytes of a gallery's ledger; None if there is no ledger.

    Raises:
        InputError: if it is damaged.
    """
    try:
        return read_checked(root, LEDGER)
    except FileNotFoundError:
        return None
    except DamagedError as error:
        raise _damaged(root / LEDGER, error) from error


def _parsed(lines: Sequence[bytes], path: Path) -> Iterator[ShardJob]:
    try:
        for start in range(0, len(lines), _PARSED):
            some = lines[start : start + _PARSED]
            values = json.loads(b"[" + b",".join(some) + b"]")  # a third of the time of line by line
            if len(values) != len(some):
                raise ValueError("a line holds more than one value")
            yield from (_job(fields, number) for number, fields in enumerate(values, start))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(path, error) from error


def _job(fields: Mapping[str, Any], number: int) -> ShardJob:
    shard = fields["shard"]
    if fields["part"] != number:
        raise ValueError(f"line {number + 1} is about part {fields['part']}")
    return ShardJob(part=number, shard=Shard(**{**shard, "members": tuple(shard["members"])}))


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{damage(path, error)}; restore it from a copy")

"""Jobs → chunks: the shards are scanned in order, only as far ahead as the decoders need, and cut into chunks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from ...datasets import scan
from ...datasets.errors import ShardError
from ...datasets.types import Entry, Failure, Scan
from ..store.ledger import ShardJob
from ..store.moves import Moves
from ..store.parts import read_metadata
from .events import Event, Scanned

# Some chunks are in memory at once. Only those of shards that are read from front to back hold the images' bytes.
_MAX_CHUNK_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some entries of a shard, for one batch. `broken` is set if the shard cannot be read."""

    job: ShardJob
    entries: Sequence[Entry]
    failures: Sequence[Failure] = ()
    is_last: bool = False
    broken: ShardError | None = None


def scanned(
    jobs: Iterable[ShardJob], gallery: Path, batch_size: int, on_event: Callable[[Event], None]
) -> Generator[Chunk, None, None]:
    """Scans the shards in this process.

    Args:
        jobs: taken one by one.
        gallery: the gallery's folder.
        batch_size: entries per chunk.
        on_event: gets the event of every scan.
    """
    scanner = Scanner(gallery, batch_size)
    for job in jobs:
        for found in scanner.scan(job):
            if isinstance(found, Chunk):
                yield found
            else:
                on_event(found)


class Scanner:
    """Scans the shards of one gallery's jobs."""

    def __init__(self, gallery: Path, batch_size: int) -> None:
        self._gallery = gallery
        self._batch_size = batch_size
        self._moves = Moves.read(gallery)

    def scan(self, job: ShardJob) -> Iterator[Scanned | Chunk]:
        """How many samples a job has, then its chunks; the last one says so."""
        try:
            found = self._find(job)
            yield Scanned(num_samples=found.num_entries)
            yield from self._chunks(job, found)
        except ShardError as error:
            yield Chunk(job=job, entries=(), is_last=True, broken=error)

    def _chunks(self, job: ShardJob, found: Scan) -> Iterator[Chunk]:
        entries = iter(found.entries)
        num_reported = 0
        current: Sequence[Entry] = _take(entries, self._batch_size)
        while True:
            following = _take(entries, self._batch_size)
            failures = [replace(failure, shard=job.shard.uri) for failure in found.failures[num_reported:]]
            yield Chunk(job=job, entries=current, failures=failures, is_last=not following)
            num_reported = len(found.failures)
            if not following:
                return
            current = following

    def _find(self, job: ShardJob) -> Scan:
        found = scan(self._moves.shard_now(job.shard))
        if not job.spaces:
            return found
        # The part exists, so exactly its rows get vectors in further spaces. Its failures are already recorded.
        keys = read_metadata(self._gallery, job.part, ["key"])["key"].to_pylist()
        wanted = set(keys)
        entries = (entry for entry in found.entries if entry.key in wanted)
        return Scan(entries=entries, failures=[], num_entries=len(keys))


def _take(entries: Iterator[Entry], most: int) -> tuple[Entry, ...]:
    """The next entries, at most a batch; fewer if they hold many bytes, as those of a compressed tar may."""
    taken: list[Entry] = []
    num_bytes = 0
    for entry in islice(entries, most):
        taken.append(entry)
        num_bytes += sum(len(span.data or b"") for span in (entry.image, entry.caption, entry.fields) if span)
        if num_bytes > _MAX_CHUNK_BYTES:
            break
    return tuple(taken)

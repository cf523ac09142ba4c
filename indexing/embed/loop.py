"""The embedding loop: jobs in, one part out of each. Runs in the job's process or in several, see `executors`.

Shapes: B batch, N rows of a part, D dimension.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...datasets.errors import InputError, Reason, ShardError
from ...datasets.types import Failure
from ..encoders.spec import ImageEncoder, TextEncoder
from ..store.layout import space_root
from ..store.ledger import Job
from ..store.manifest import read_manifest
from ..store.parts import Record, read_metadata, write_part, write_space_part
from .events import Broken, Committed, Encoded, Event
from .loader import Batch, batches


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """How the loop runs. `texts` also embeds captions; the others do not change what is written."""

    batch_size: int = 16
    num_workers: int = 0
    texts: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.num_workers < 0:
            raise InputError(
                f"batch size {self.batch_size} and {self.num_workers} workers cannot be used; give at least 1 and 0"
            )


def run_jobs(
    jobs: Iterable[Job], gallery: Path, encoders: Sequence[ImageEncoder], settings: LoopSettings
) -> Generator[Event, None, None]:
    """Turns each job's shard into a part and tells what happens on the way.

    The first encoder's vectors are the gallery's main space. A job that names spaces adds their vectors to a part that
    exists. A shard that cannot be read ends in `Broken`, with nothing written.
    """
    told: deque[Event] = deque()
    specs = [encoder.spec for encoder in encoders]
    # By the names that the gallery has for them: a model that has moved has another name now.
    manifest = read_manifest(gallery)
    names = {spec.fingerprint: spec.slug for spec in manifest.encoders}
    spaces = [names[spec.fingerprint] for spec in specs]
    drafts: dict[int, _Draft] = {}
    loaded = batches(
        jobs,
        gallery,
        specs,
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
        on_event=told.append,
    )
    with _Writer(gallery, encoders, spaces, settings, dict(manifest.parts)) as writer, closing(loaded):
        for batch in loaded:
            draft = drafts.setdefault(batch.job.part, _Draft(batch.job, spaces))
            told.append(draft.add(batch, encoders))
            if batch.is_last:
                told += writer.write(drafts.pop(batch.job.part))
            while told:
                yield told.popleft()
        yield from writer.finish()


@dataclass(slots=True)
class _Draft:
    """A part in the making: record i, and vector i of every encoder."""

    job: Job
    spaces: Sequence[str]  # of the encoders, in their order
    vectors: list[list[np.ndarray]] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    broken: ShardError | None = None

    def add(self, batch: Batch, encoders: Sequence[ImageEncoder]) -> Encoded:
        """Takes a batch through the encoders; a picture of which one vector is not finite becomes a failure."""
        self.broken = self.broken or batch.broken
        before = len(self.failures)
        self.failures += batch.failures
        if batch.records and not self.broken:
            vectors = self._encode(batch, encoders)
            finite_B = np.logical_and.reduce([np.isfinite(emb_BD).all(axis=1) for emb_BD in vectors if emb_BD.size])
            self.vectors.append([emb_BD[finite_B] if emb_BD.size else emb_BD for emb_BD in vectors])
            for record, is_finite in zip(batch.records, finite_B.tolist(), strict=True):
                if is_finite:
                    self.records.append(record)
                else:
                    self.failures.append(_not_finite(record))
        return Encoded(num_images=len(batch.records), num_failed=len(self.failures) - before)

    def _encode(self, batch: Batch, encoders: Sequence[ImageEncoder]) -> list[np.ndarray]:
        wanted = self.job.spaces or self.spaces
        return [
            encoder.encode_images(pixels).astype(np.float16)
            if space in wanted
            else np.zeros((0, encoder.spec.dim), np.float16)
            for space, encoder, pixels in zip(self.spaces, encoders, batch.pixels, strict=True)
        ]

    def vectors_of(self, position: int, encoder: ImageEncoder) -> np.ndarray:
        """All vectors of one encoder, `emb_ND` float16."""
        empty = np.zeros((0, encoder.spec.dim), np.float16)
        return np.concatenate([empty, *(batch[position] for batch in self.vectors)])


class _Writer:
    """Writes parts in a thread of its own, one at a time, so that the model does not wait for the disk."""

    def __init__(
        self,
        gallery: Path,
        encoders: Sequence[ImageEncoder],
        spaces: Sequence[str],
        settings: LoopSettings,
        listed: Mapping[int, int],
    ) -> None:
        self._gallery = gallery
        self._encoders = encoders
        self._spaces = spaces
        self._settings = settings
        self._listed = listed  # rows of the parts that the gallery counts on, by their numbers
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[Event] | None = None

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._thread.shutdown()

    def write(self, draft: _Draft) -> list[Event]:
        """Hands a draft to the writing thread; gives what became of the one before."""
        before = self.finish()
        texts_ND = self._text_vectors(draft) if self._settings.texts and not draft.job.spaces else None
        self._writing = self._thread.submit(self._write, draft, texts_ND)
        return before

    def finish(self) -> list[Event]:
        """Waits for the draft in writing, if there is one."""
        writing, self._writing = self._writing, None
        return [writing.result()] if writing else []

    def _write(self, draft: _Draft, texts_ND: np.ndarray | None) -> Event:
        job = draft.job
        try:
            rows = self._rows(draft)
        except ShardError as error:
            return Broken(job=job, reason=str(error), may_pass=error.may_pass)
        for position, (space, encoder) in enumerate(zip(self._spaces, self._encoders, strict=True)):
            if space in job.spaces or (position and not job.spaces):
                root = space_root(self._gallery, space)
                emb_ND = draft.vectors_of(position, encoder)[rows]
                write_space_part(root, job.part, job.shard, encoder.spec.fingerprint, emb_ND)
        if not job.spaces:  # the main space last: with its record the part exists
            main = self._encoders[0]
            emb_ND, fingerprint = draft.vectors_of(0, main), main.spec.fingerprint
            records, failures = draft.records, draft.failures
            write_part(self._gallery, job.part, job.shard, fingerprint, emb_ND, records, failures, text_emb_ND=texts_ND)
        return Committed(job=job, num_rows=len(rows), num_failed=len(draft.failures))

    def _rows(self, draft: _Draft) -> list[int]:
        """Which of a draft's records are the part's rows: all of a new part, those of an existing one by their keys.

        An existing part cannot lose rows any more. It may lack some of its shard's, which were deleted for good.

        Raises:
            ShardError: if the shard cannot be read, or is not what the part was made of.
        """
        if draft.broken:
            raise draft.broken
        job, found = draft.job, {record["key"]: row for row, record in enumerate(draft.records)}
        if job.spaces:
            keys = read_metadata(self._gallery, job.part, ["key"])["key"].to_pylist()
            missing = sum(key not in found for key in keys)
            if missing:
                raise ShardError(
                    f"{job.shard.uri} has changed since it was embedded: {missing} of its {len(keys)} rows cannot be "
                    "read"
                )
            return [found[key] for key in keys]
        count = self._listed.get(job.part, len(draft.records))
        if count != len(draft.records):
            raise ShardError(
                f"{job.shard.uri} gives {len(draft.records)} rows, its part had {count}: it has changed, or rows were "
                "left out by a compaction; restore the part's files from a copy, or compact the older gallery again"
            )
        return list(range(count))

    def _text_vectors(self, draft: _Draft) -> np.ndarray:
        """The vectors of captions, `emb_ND` float16; rows without caption are zeros."""
        encoder = self._encoders[0]
        assert isinstance(encoder, TextEncoder), "checked before the job began"
        emb_ND = np.zeros((len(draft.records), encoder.spec.dim), np.float16)
        captions = {row: record["caption"] for row, record in enumerate(draft.records) if record["caption"]}
        if captions:
            emb_ND[list(captions)] = encoder.encode_texts(list(captions.values()))
        return emb_ND


def _not_finite(record: Record) -> Failure:
    detail = "an encoder gave a vector that is not finite"
    return Failure(key=record["key"], shard=record["shard"], reason=Reason.NOT_FINITE, detail=detail)

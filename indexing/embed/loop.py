"""The embedding loop: one part from each job. It runs in one process or in several, see `executors`.

Shapes: B batch, N rows of a part, T captions, D dimension.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ...datasets import arguments
from ...datasets.errors import InputError, Reason, ShardError
from ...datasets.types import Failure
from ..encoders.spec import EncoderSpec, ImageEncoder, TextEncoder, num_at_once, says_nothing, start_images
from ..store.attempts import new_attempt
from ..store.layout import space_root
from ..store.ledger import ShardJob
from ..store.manifest import own_encoder, read_manifest
from ..store.parts import read_metadata, write_part, write_space_part
from ..store.tables import Record, all_captions
from .decoder import Batch
from .events import Broken, Encoded, Event, Written
from .loader import batches

# Images per batch of the model. A GPU needs many to be busy; a CPU is faster with batches that fit its cache (conse in
# fp32 on two cores: 94 images/s with 16, 47 with 64), which also need less memory.
BATCH_SIZE = {"cpu": 16, "cuda": 256}
# Rounding changes a length by less than this, also in float16 and bf16. More means that an encoder does not normalise.
_LENGTH_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """Settings of the loop.

    Attributes:
        batch_size: images per batch of the model. It does not change what is written, except for rounding.
        num_workers: processes that read and decode; 0 decodes in threads of the same process.
        texts: embed captions as well.
    """

    batch_size: int = 16
    num_workers: int = 0
    texts: bool = False

    def __post_init__(self) -> None:
        arguments.whole_number("batch_size", self.batch_size)
        if self.batch_size < 1 or self.num_workers < 0:
            raise InputError(
                f"batch size {self.batch_size} with {self.num_workers} workers cannot be used; give at least 1 and 0"
            )


def run_jobs(
    jobs: Iterable[ShardJob], gallery: Path, encoders: Sequence[ImageEncoder], settings: LoopSettings
) -> Generator[Event, None, None]:
    """Turns the shard of each job into an attempt at a part, and yields what happens on the way.

    The first encoder's vectors are the gallery's main space. A job that names spaces adds their vectors to an existing
    part. If a shard cannot be read, its job ends in `Broken` and nothing is written.

    Args:
        jobs: taken one by one, a little ahead of the work.
        gallery: the gallery's folder; its `gallery.json` has all the encoders.
        encoders: the main space's first.
        settings: see `LoopSettings`.

    Raises:
        InputError: if an encoder does not return what its spec says, or cannot be used with the settings.
    """
    reported: deque[Event] = deque()
    # The gallery's names and resizers for the encoders: a model that was moved has another name now.
    manifest = read_manifest(gallery)
    named = {spec.fingerprint: spec for spec in manifest.encoders}
    theirs = [named[encoder.spec.resized_as(manifest.encoders).fingerprint] for encoder in encoders]
    encoders = [own_encoder(spec, encoder, gallery) for spec, encoder in zip(theirs, encoders, strict=True)]
    spaces = [spec.slug for spec in theirs]
    open_parts: dict[int, _PartBuilder] = {}
    num_done = 0
    loaded = batches(
        jobs,
        gallery,
        encoders,
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
        on_event=reported.append,
        num_done=lambda: num_done,
    )
    with _Writer(gallery, encoders, spaces, settings, dict(manifest.parts)) as writer, closing(loaded):
        for batch, vectors in _ahead(loaded, spaces, encoders):
            builder = open_parts.setdefault(batch.job.part, _PartBuilder(batch.job))
            reported.append(builder.add(batch, vectors))
            num_done += 1
            if batch.is_last:
                reported += writer.write(open_parts.pop(batch.job.part))
            while reported:
                yield reported.popleft()
        yield from writer.finish()


Vectors = Callable[[], Sequence[np.ndarray]]  # waits for those of a batch: `emb_BD` of every encoder


def _ahead(
    loaded: Iterable[Batch], spaces: Sequence[str], encoders: Sequence[ImageEncoder]
) -> Generator[tuple[Batch, Vectors], None, None]:
    """Starts encoding each batch, and yields it when further ones have been started, so that no encoder has to wait."""
    started: deque[tuple[Batch, Vectors]] = deque()
    for batch in loaded:
        started.append((batch, _start(batch, spaces, encoders)))
        if len(started) > max(map(num_at_once, encoders)):  # known only when one has been loaded for its first batch
            yield started.popleft()
    yield from started


def _start(batch: Batch, spaces: Sequence[str], encoders: Sequence[ImageEncoder]) -> Vectors:
    """Starts the encoders that the job wants; the others, and those of a batch without images, have no vectors."""
    wanted = (batch.job.spaces or spaces) if batch.records and not batch.broken else ()
    waiting = [
        _start_one(encoder, pixels, len(batch.records)) if space in wanted else None
        for space, encoder, pixels in zip(spaces, encoders, batch.pixels, strict=True)
    ]
    empty = [np.zeros((0, encoder.spec.dim), np.float16) for encoder in encoders]
    return lambda: [vectors() if vectors else none for vectors, none in zip(waiting, empty, strict=True)]


def _start_one(encoder: ImageEncoder, pixels_BCHW: torch.Tensor, count: int) -> Callable[[], np.ndarray]:
    vectors = start_images(encoder, pixels_BCHW)
    return lambda: _checked(vectors(), encoder.spec, count).astype(np.float16)


@dataclass(slots=True)
class _PartBuilder:
    """Collects the batches of one job. Record i belongs to vector i of every encoder."""

    job: ShardJob
    vectors: list[list[np.ndarray]] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)  # see `Written`
    broken: ShardError | None = None

    def add(self, batch: Batch, encoded: Vectors) -> Encoded:
        """Adds a batch that was encoded. An image with a non-finite vector is recorded as a failure."""
        self.broken = self.broken or batch.broken
        before = len(self.failures)
        self.failures += batch.failures
        if batch.records and not self.broken:
            vectors = encoded()
            finite_B = np.logical_and.reduce([np.isfinite(emb_BD).all(axis=1) for emb_BD in vectors if emb_BD.size])
            self.vectors.append([emb_BD[finite_B] if emb_BD.size else emb_BD for emb_BD in vectors])
            for record, is_finite in zip(batch.records, finite_B.tolist(), strict=True):
                if is_finite:
                    self.records.append(record)
                else:
                    self.failures.append(_not_finite(record))
        self.notes += batch.notes
        return Encoded(num_images=len(batch.records), num_failed=len(self.failures) - before)

    def vectors_of(self, position: int, encoder: ImageEncoder) -> np.ndarray:
        """All vectors of one encoder, `emb_ND` float16."""
        empty = np.zeros((0, encoder.spec.dim), np.float16)
        return np.concatenate([empty, *(batch[position] for batch in self.vectors)])


class _Writer:
    """Writes parts in a thread, one at a time, so that the model does not wait for the disk."""

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
        self._listed = listed  # rows of the parts in gallery.json, by their numbers
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[Event] | None = None

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._thread.shutdown()

    def write(self, builder: _PartBuilder) -> list[Event]:
        """Hands a complete part to the thread, and returns the event of the previous one."""
        before = self.finish()
        texts_ND = self._text_vectors(builder) if self._settings.texts and not builder.job.spaces else None
        self._writing = self._thread.submit(self._write, builder, texts_ND)
        return before

    def finish(self) -> list[Event]:
        """Waits for the part that is being written, if there is one, and returns its event."""
        writing, self._writing = self._writing, None
        return [writing.result()] if writing else []

    def _write(self, builder: _PartBuilder, texts_ND: np.ndarray | None) -> Event:
        job = builder.job
        try:
            rows = self._rows(builder)
        except ShardError as error:
            return Broken(job=job, reason=str(error), may_pass=error.may_pass)
        attempt = new_attempt(job.part)
        folder = self._gallery / attempt
        for position, (space, encoder) in enumerate(zip(self._spaces, self._encoders, strict=True)):
            if space in job.spaces or (position and not job.spaces):
                root = space_root(folder, space)
                emb_ND = builder.vectors_of(position, encoder)[rows]
                write_space_part(root, job.part, job.shard, fingerprint=encoder.spec.fingerprint, emb_ND=emb_ND)
        if not job.spaces:
            main = self._encoders[0]
            write_part(
                folder,
                job.part,
                job.shard,
                fingerprint=main.spec.fingerprint,
                emb_ND=builder.vectors_of(0, main),
                records=builder.records,
                failures=builder.failures,
                text_emb_ND=texts_ND,
            )
        # A job that adds vectors in a further space finds again what the part's own job has told.
        notes = () if job.spaces else tuple(builder.notes)
        return Written(job=job, attempt=attempt, num_rows=len(rows), num_failed=len(builder.failures), notes=notes)

    def _rows(self, builder: _PartBuilder) -> list[int]:
        """Which records become rows: all of them in a new part; in an existing part those of its rows, by key.

        An existing part must not lose rows. It may have fewer rows than its shard, because some were deleted for good.

        Raises:
            ShardError: if the shard cannot be read, or is not the one that the part was made from.
        """
        if builder.broken:
            raise builder.broken
        job, found = builder.job, {record["key"]: row for row, record in enumerate(builder.records)}
        if job.spaces:
            keys = read_metadata(self._gallery, job.part, ["key"])["key"].to_pylist()
            missing = sum(key not in found for key in keys)
            if missing:
                raise ShardError(
                    f"{job.shard.uri} has changed since it was embedded: {missing} of its {len(keys)} rows cannot be "
                    "read"
                )
            return [found[key] for key in keys]
        count = self._listed.get(job.part, len(builder.records))
        if count != len(builder.records):
            raise ShardError(
                f"{job.shard.uri} gives {len(builder.records)} rows, its part had {count}: it has changed, or rows "
                "were left out by a compaction; restore the part's files from a copy, or compact the older gallery "
                "again"
            )
        return list(range(count))

    def _text_vectors(self, builder: _PartBuilder) -> np.ndarray:
        """The vectors of the captions, `emb_ND` float16; zeros for rows without a caption that says something.

        An image with several captions gets the mean of their vectors, at unit length.
        """
        encoder = self._encoders[0]
        assert isinstance(encoder, TextEncoder), "checked before the job began"
        emb_ND = np.zeros((len(builder.records), encoder.spec.dim), np.float32)
        captions = [
            (row, text)
            for row, record in enumerate(builder.records)
            for text in all_captions(record)
            if not says_nothing(encoder, text)
        ]
        if captions:
            texts_TD = _checked(encoder.encode_texts([text for _, text in captions]), encoder.spec, len(captions))
            np.add.at(emb_ND, [row for row, _ in captions], texts_TD.astype(np.float32))
            several_N = np.bincount([row for row, _ in captions], minlength=len(emb_ND)) > 1
            lengths_N = np.linalg.norm(emb_ND, axis=1)
            scaled_N = several_N & np.isfinite(lengths_N) & (lengths_N > 0)
            emb_ND[scaled_N] /= lengths_N[scaled_N, None]
        return emb_ND.astype(np.float16)


def _checked(emb_BD: np.ndarray, spec: EncoderSpec, count: int) -> np.ndarray:
    """Returns an encoder's vectors after checking them. Scores are inner products, so vectors must have length 1.

    Raises:
        InputError: if the shape is not what the spec says, or a finite vector has neither length 1 nor length 0.
    """
    if emb_BD.shape != (count, spec.dim):
        raise InputError(
            f"encoder {spec.name} returned vectors of shape {emb_BD.shape} for {count} inputs; its spec.dim is "
            f"{spec.dim}, so the shape must be {(count, spec.dim)}"
        )
    lengths_B = np.linalg.norm(emb_BD.astype(np.float32), axis=1)
    lengths_B = lengths_B[np.isfinite(lengths_B) & (lengths_B > 0)]
    wrong_B = lengths_B[np.abs(lengths_B - 1) > _LENGTH_TOLERANCE]
    if wrong_B.size:
        raise InputError(
            f"encoder {spec.name} returned a vector of length {wrong_B[0]:.4g}; divide vectors by their length, it "
            "must be 1"
        )
    return emb_BD


def _not_finite(record: Record) -> Failure:
    detail = "an encoder returned a vector that is not finite"
    return Failure(key=record["key"], shard=record["shard"], reason=Reason.NOT_FINITE, detail=detail)

"""The embedding loop: shards in, one part out of each.

Shapes: B batch, C channels, H height, W width, N rows of a part, D dimension.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..datasets.types import Failure, InputError, Reason, Shard
from .encoders.spec import ImageEncoder
from .files import exclusive, remove_temporary
from .ledger import Job, Ledger
from .loader import Batch, batches
from .manifest import Manifest, open_or_create
from .parts import Part, Record, write_part

log = logging.getLogger(__name__)

# Pictures that go through the model at a time. A GPU wants many; a CPU is faster with batches that stay near its cache
# (conse in fp32 here: 94 images/s with 16, 47 with 64), and they keep the memory low.
BATCH_SIZE = {"cpu": 16, "cuda": 256}
# The list of parts in gallery.json can always be read off the commit records, so it need not be written after each.
_MANIFEST_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run did. `quarantined` are the shards of the gallery that could not be read at all."""

    num_images: int
    num_failed: int
    seconds: float
    quarantined: tuple[Part, ...]

    def __str__(self) -> str:
        speed = self.num_images / self.seconds if self.seconds else 0.0
        return f"{self.num_images} images in {self.seconds:.1f} s ({speed:.1f} images/s), {self.num_failed} failed"


def embed(
    shards: Sequence[Shard],
    gallery: Path,
    encoder: ImageEncoder,
    *,
    batch_size: int = BATCH_SIZE["cpu"],
    num_workers: int = 0,
    show_progress: bool = False,
) -> Summary:
    """Embeds shards into a gallery, which is made if it does not exist; what it already has is not done again.

    A run that is killed at any moment and started again ends with the same bytes as one that was not. What an earlier
    run left open is done first.

    Args:
        shards: what `find_shards` gave.
        gallery: the gallery's folder.
        encoder: what turns pictures into vectors; its fingerprint must be the gallery's.
        batch_size: pictures that go through the model at a time; see `BATCH_SIZE`.
        num_workers: processes that read and decode; 0 decodes in this one.
        show_progress: one progress bar on stderr.

    Raises:
        InputError: if the gallery belongs to another encoder, or another job is writing to it.
    """
    if batch_size < 1 or num_workers < 0:
        raise InputError(f"batch size {batch_size} and {num_workers} workers: at least 1 and 0 are needed")
    started = time.perf_counter()
    with exclusive(gallery):
        remove_temporary(gallery)
        manifest = open_or_create(gallery, encoder.spec)
        ledger = Ledger(gallery)
        jobs = ledger.assign(shards)
        with _Bar(len(jobs), show_progress) as bar, _Committer(gallery, manifest, encoder) as committer:
            loaded = batches(jobs, encoder.spec, batch_size=batch_size, num_workers=num_workers, on_scan=bar.scanned)
            for draft in _drafts(loaded, encoder, bar):
                committer.commit(draft)
        quarantined = ledger.progress().quarantined
    seconds = time.perf_counter() - started
    return Summary(num_images=bar.done, num_failed=bar.failed, seconds=seconds, quarantined=quarantined)


@dataclass(slots=True)
class _Draft:
    """A part in the making: vector i, record i."""

    job: Job
    vectors: list[np.ndarray] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    quarantined: str | None = None

    def add(self, batch: Batch, emb_BD: np.ndarray) -> None:
        """Takes a batch and its vectors; a vector that is not finite becomes a failure."""
        finite_B = np.asarray(np.isfinite(emb_BD).all(axis=1))
        self.vectors.append(emb_BD[finite_B].astype(np.float16))
        self.failures += batch.failures
        for record, is_finite in zip(batch.records, finite_B.tolist(), strict=True):
            if is_finite:
                self.records.append(record)
            else:
                detail = "the encoder gave a vector that is not finite"
                failure = Failure(key=record["key"], shard=record["shard"], reason=Reason.NOT_FINITE, detail=detail)
                self.failures.append(failure)


def _drafts(loaded: Iterator[Batch], encoder: ImageEncoder, bar: _Bar) -> Iterator[_Draft]:
    draft: _Draft | None = None
    for batch in loaded:
        draft = draft or _Draft(batch.work.job)
        failed_before = len(draft.failures)
        if batch.records:
            draft.add(batch, encoder.encode_images(batch.pixels_BCHW))
        else:
            draft.failures += batch.failures
        bar.update(len(batch.records), len(draft.failures) - failed_before)
        if batch.work.is_last:
            draft.quarantined = batch.work.quarantined
            yield draft
            draft = None


class _Committer:
    """Writes parts in a thread of its own, one at a time, so that the model does not wait for the disk."""

    def __init__(self, gallery: Path, manifest: Manifest, encoder: ImageEncoder) -> None:
        self._gallery = gallery
        self._manifest = manifest
        self._spec = encoder.spec
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[None] | None = None
        self._saved_at = time.monotonic()

    def __enter__(self) -> _Committer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._thread:
            self._wait()
        self._save()

    def commit(self, draft: _Draft) -> None:
        """Hands a draft to the writing thread, once the one before is on disk."""
        self._wait()
        if time.monotonic() - self._saved_at > _MANIFEST_SECONDS:
            self._save()
        self._writing = self._thread.submit(self._write, draft)

    def _write(self, draft: _Draft) -> None:
        empty = np.zeros((0, self._spec.dim), np.float16)
        write_part(
            self._gallery,
            draft.job.part,
            draft.job.shard,
            self._spec.fingerprint,
            np.concatenate([empty, *draft.vectors]),
            draft.records,
            draft.failures,
            quarantined=draft.quarantined,
        )

    def _wait(self) -> None:
        if self._writing:
            self._writing.result()

    def _save(self) -> None:
        manifest = self._manifest.with_committed(self._gallery)
        if manifest != self._manifest:
            manifest.save(self._gallery)
        self._manifest, self._saved_at = manifest, time.monotonic()


class _Bar:
    """One progress bar: images/s, failures, and a total that is estimated until every shard is scanned."""

    def __init__(self, num_shards: int, show: bool) -> None:
        self._tqdm = tqdm(unit=" images", disable=not show, dynamic_ncols=True, smoothing=0.1)
        self._num_shards = num_shards
        self._num_scanned = 0
        self._num_samples = 0
        self.done = 0
        self.failed = 0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._tqdm.close()

    def scanned(self, num_samples: int) -> None:
        """Counts a shard whose number of samples is now known."""
        self._num_scanned += 1
        self._num_samples += num_samples
        self._tqdm.total = self._num_samples * self._num_shards // self._num_scanned

    def update(self, num_records: int, num_failed: int) -> None:
        """Counts pictures that have become vectors and samples that were left out."""
        self.done += num_records
        self.failed += num_failed
        self._tqdm.set_postfix(failed=self.failed, refresh=False)
        self._tqdm.update(num_records + num_failed)

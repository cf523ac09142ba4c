"""A job: shards in, a gallery out. Decides what is to be done; `loop` does it, here or wherever an executor runs it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...datasets.errors import InputError, ShardError
from ...datasets.files import exclusive
from ...datasets.readers.formats import scan
from ...datasets.types import Shard
from ..encoders.spec import ImageEncoder
from ..store.layout import JOB_LOCK, remove_temporary_files
from ..store.ledger import Job, Ledger
from ..store.manifest import Manifest, open_or_create
from ..store.parts import write_part
from ..store.records import Part
from .events import Broken, Committed, Encoded, Event, Scanned
from .executors import Executor, InProcess
from .loop import LoopSettings

log = logging.getLogger(__name__)

# Pictures that go through the model at a time. A GPU wants many; a CPU is faster with batches that stay near its cache
# (conse in fp32 here: 94 images/s with 16, 47 with 64), and they keep the memory low.
BATCH_SIZE = {"cpu": 16, "cuda": 256}
# A shard that cannot be read gets this many tries, since network file systems have bad moments; the first pause is
# one second, the next one twice as long.
_TRIES = 3
_PAUSE_SECONDS = 1.0
# The list of parts in gallery.json can always be read off the commit records, so it need not be written after each.
_MANIFEST_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run did.

    `quarantined` are the shards of the gallery that could not be read at all; `lacking` says which existing parts could
    not be made anew, or given vectors in a further space.
    """

    num_images: int
    num_failed: int
    seconds: float
    quarantined: tuple[Part, ...]
    lacking: tuple[str, ...] = ()

    def __str__(self) -> str:
        speed = self.num_images / self.seconds if self.seconds else 0.0
        return f"{self.num_images} images in {self.seconds:.1f} s ({speed:.1f} images/s), {self.num_failed} failed"


def embed(
    shards: Sequence[Shard],
    gallery: Path,
    encoders: ImageEncoder | Sequence[ImageEncoder],
    *,
    batch_size: int = BATCH_SIZE["cpu"],
    num_workers: int = 0,
    texts: bool = False,
    show_progress: bool = False,
) -> Summary:
    """Embeds shards into a gallery, in this process; see `embed_with`.

    Args:
        shards: what `find_shards` gave.
        gallery: the gallery's folder.
        encoders: what turns pictures into vectors: the main space's encoder, and further ones.
        batch_size: pictures that go through the model at a time; see `BATCH_SIZE`.
        num_workers: processes that read and decode; 0 decodes in this one.
        texts: embed captions too.
        show_progress: one progress bar on stderr.

    Raises:
        InputError: if the gallery belongs to other encoders or settings, or another job is writing to it.
    """
    settings = LoopSettings(batch_size=batch_size, num_workers=num_workers, texts=texts)
    given = [encoders] if isinstance(encoders, ImageEncoder) else list(encoders)
    return embed_with(InProcess(given, settings), shards, gallery, show_progress=show_progress)


def embed_with(executor: Executor, shards: Sequence[Shard], gallery: Path, *, show_progress: bool = False) -> Summary:
    """Embeds shards into a gallery, which is made if it does not exist; what it already has is not done again.

    A run that is killed at any moment and started again ends with the same bytes as one that was not. What an earlier
    run left open is done first. Encoders that the gallery does not have yet get vectors for all its rows.

    Raises:
        InputError: if the gallery belongs to other encoders or settings, or another job is writing to it.
    """
    started = time.perf_counter()
    gallery = Path(gallery)
    specs = executor.specs
    slugs = [spec.slug for spec in specs]
    if len(set(slugs)) < len(slugs):
        raise InputError(f"the encoders {', '.join(spec.name for spec in specs)} would share a folder; give each once")
    if executor.texts and not executor.encodes_texts:
        raise InputError(f"{specs[0].name} has no text side, so captions cannot be embedded; leave out --texts")
    with exclusive(gallery, JOB_LOCK):
        manifest = open_or_create(gallery, specs, texts=executor.texts)
        remove_temporary_files(gallery)
        ledger = Ledger(gallery)
        jobs = [*ledger.assign(shards, _can_scan), *ledger.lacking([spec.slug for spec in manifest.encoders[1:]])]
        with _Run(gallery, manifest, len(jobs), show_progress) as run:
            lacking = _run_with_retries(executor, jobs, gallery, run)
        quarantined = ledger.progress().quarantined
    return Summary(
        num_images=run.num_images,
        num_failed=run.num_failed,
        seconds=time.perf_counter() - started,
        quarantined=quarantined,
        lacking=lacking,
    )


def _can_scan(shard: Shard) -> bool:
    try:
        scan(shard)
    except ShardError:
        return False
    return True


def _run_with_retries(executor: Executor, jobs: Sequence[Job], gallery: Path, run: _Run) -> tuple[str, ...]:
    """Runs jobs; those whose shards cannot be read are tried again, and set aside in the end."""
    given_up: list[Broken] = []
    for attempt in range(_TRIES):
        is_last_try = attempt == _TRIES - 1
        again: list[Job] = []
        with closing(executor.run(jobs, gallery)) as events:
            for event in events:
                run.take(event)
                if isinstance(event, Broken) and event.may_pass and not is_last_try:
                    again.append(event.job)
                elif isinstance(event, Broken):
                    given_up.append(event)
        jobs = again
        if not jobs:
            break
        time.sleep(_PAUSE_SECONDS * 2**attempt)
    main = executor.specs[0]
    listed = {number for number, _ in run.manifest.parts}
    of_existing = [event for event in given_up if event.job.spaces or event.job.part in listed]
    for event in given_up:
        if event not in of_existing:
            nothing = np.zeros((0, main.dim), np.float16)
            texts = nothing if executor.texts else None
            write_part(
                gallery, event.job.part, event.job.shard, main.fingerprint, nothing, [], [],
                text_emb_ND=texts, quarantined=event.reason,
            )  # fmt: skip
    return tuple(event.reason for event in of_existing)


@dataclass(slots=True)
class _Run:
    """What a run has done so far: the counts, the bar and the list of parts in gallery.json."""

    gallery: Path
    manifest: Manifest
    num_jobs: int
    show_progress: bool
    num_images: int = 0
    num_failed: int = 0
    bar_failed: int = 0
    num_scanned: int = 0
    num_samples: int = 0
    saved_at: float = field(default_factory=time.monotonic)
    bar: tqdm = field(init=False)

    def __enter__(self) -> _Run:
        self.bar = tqdm(unit=" images", disable=not self.show_progress, dynamic_ncols=True, smoothing=0.1)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.bar.close()
        self.save()

    def take(self, event: Event) -> None:
        """Counts what an event tells."""
        if isinstance(event, Scanned) and event.num_samples is not None:
            self.num_scanned += 1
            self.num_samples += event.num_samples
            # Until every shard is scanned, the others are taken to be like those that are.
            self.bar.total = max(self.num_samples, self.num_samples * self.num_jobs // self.num_scanned)
        elif isinstance(event, Encoded):
            self.bar_failed += event.num_failed
            self.bar.set_postfix(failed=self.bar_failed, refresh=False)
            self.bar.update(event.num_images + event.num_failed)
        elif isinstance(event, Committed):
            self.num_images += event.num_rows
            self.num_failed += event.num_failed
        if time.monotonic() - self.saved_at > _MANIFEST_SECONDS:
            self.save()

    def save(self) -> None:
        """Brings the list of parts in gallery.json up to date."""
        manifest = self.manifest.with_committed(self.gallery)
        if manifest != self.manifest:
            manifest.save(self.gallery)
        self.manifest, self.saved_at = manifest, time.monotonic()

"""The embedding job: it decides what must be done, lets an executor do it, and keeps the gallery's list of parts."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from ...datasets.errors import InputError, ShardError
from ...datasets.files import exclusive
from ...datasets.readers.formats import scan
from ...datasets.types import Shard
from ..encoders.spec import ImageEncoder
from ..store.attempts import accept, remove_attempts
from ..store.inventory import note_parts
from ..store.layout import JOB_LOCK, remove_temporary_files
from ..store.ledger import Ledger, ShardJob
from ..store.manifest import Manifest, open_or_create
from ..store.moves import Moves
from ..store.parts import write_quarantined_part
from ..store.records import Part
from .events import Broken, Encoded, Event, Scanned, Written
from .executors import Executor, InProcess
from .executors.slurm.submission import forget, left_by_submission, refuse_while_submitted
from .loop import BATCH_SIZE, LoopSettings

log = logging.getLogger(__name__)

# A shard that cannot be read gets this many tries, because network file systems fail now and then. The first pause is
# one second, the next one twice as long.
_TRIES = 3
_PAUSE_SECONDS = 1.0
# The list of parts in gallery.json can be derived from the commit records, so it is not written after every part. With
# a million parts, writing it takes seconds; the pause is so many times as long.
_MANIFEST_SECONDS, _MANIFEST_PAUSE = 10.0, 20.0
_NAMED = 3  # keys of images that a message lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The result of a run.

    `quarantined` are the shards of the gallery that could not be read at all. `lacking` has one sentence for every
    existing part that could not be rebuilt, or could not get vectors in a further space.
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
        shards: the result of `find_shards`.
        gallery: the gallery's folder.
        encoders: the main space's encoder, then those of further spaces; any objects that satisfy `ImageEncoder`.
        batch_size: images per batch of the model; see `BATCH_SIZE`.
        num_workers: processes that read and decode; 0 decodes in threads of this process.
        texts: embed captions as well.
        show_progress: show a progress bar on stderr.

    Raises:
        InputError: if the gallery belongs to other encoders or settings, or another job is writing to it.
    """
    settings = LoopSettings(batch_size=batch_size, num_workers=num_workers, texts=texts)
    return embed_with(InProcess(_as_encoders(encoders), settings), shards, gallery, show_progress=show_progress)


def embed_with(executor: Executor, shards: Sequence[Shard], gallery: Path, *, show_progress: bool = False) -> Summary:
    """Embeds shards into a gallery, which is created if it does not exist. What the gallery already has is skipped.

    A run that is killed at any moment and started again ends with the same bytes as an uninterrupted one. Jobs that an
    earlier run left undone come first. Encoders that the gallery does not have yet add their vectors to all its rows.

    Args:
        executor: runs the jobs; see `Executor`.
        shards: the result of `find_shards`.
        gallery: the gallery's folder.
        show_progress: show a progress bar on stderr.

    Raises:
        InputError: if the gallery belongs to other encoders or settings, or another job is writing to it.
    """
    started = time.perf_counter()
    gallery = Path(gallery)
    with _begun(executor, gallery, show_progress) as run:
        jobs = _lacking(shards, run)
        run.num_jobs = len(jobs)
        broken = _run_with_retries(executor, jobs, run)
        incomplete = _quarantine(broken, executor, run)
        run.save()
        remove_attempts(gallery)
        forget(gallery)
        quarantined = Ledger(gallery).progress().quarantined
    return Summary(
        num_images=run.num_images,
        num_failed=run.num_failed,
        seconds=time.perf_counter() - started,
        quarantined=quarantined,
        lacking=incomplete,
    )


@contextmanager
def planned(executor: Executor, shards: Sequence[Shard], gallery: Path) -> Iterator[list[ShardJob]]:
    """Yields what `embed_with` would let an executor do, and holds the gallery's lock meanwhile.

    It is for work that nobody waits for: what it has written is accepted when a job begins later.

    Raises:
        InputError: if the gallery belongs to other encoders or settings, or another job is writing to it.
    """
    with _begun(executor, gallery, show_progress=False) as run:
        yield _lacking(shards, run)


@contextmanager
def _begun(executor: Executor, gallery: Path, show_progress: bool) -> Iterator[_Run]:
    """Takes the gallery's lock, accepts what was written while nobody held it, and removes what is left besides."""
    _check(executor)
    with exclusive(gallery, JOB_LOCK):
        refuse_while_submitted(gallery)
        manifest = open_or_create(gallery, executor.specs, texts=executor.texts)
        remove_temporary_files(gallery)
        with _Run(gallery, manifest, show_progress) as run:
            for event in left_by_submission(gallery):
                run.take(event)
            remove_attempts(gallery)
            yield run


def _lacking(shards: Sequence[Shard], run: _Run) -> list[ShardJob]:
    """Gives new shards their numbers, and returns the jobs that are not done."""
    moves = Moves.read(run.gallery)
    ledger = Ledger(run.gallery)
    found = [moves.shard_recorded(shard) for shard in shards]
    return [
        *ledger.assign(found, lambda shard: _can_scan(moves.shard_now(shard))),
        *ledger.lacking([spec.slug for spec in run.manifest.encoders[1:]]),
    ]


def _as_encoders(given: ImageEncoder | Sequence[ImageEncoder]) -> list[ImageEncoder]:
    encoders = list(given) if isinstance(given, Sequence) else [given]
    if not encoders:
        raise InputError("no encoder was given; give at least one")
    for encoder in encoders:
        if not isinstance(encoder, ImageEncoder):
            raise InputError(
                f"{type(encoder).__name__} cannot be used as an encoder; it must have spec, preprocess and "
                "encode_images, see ImageEncoder"
            )
    return encoders


def _check(executor: Executor) -> None:
    specs = executor.specs
    if len({spec.slug for spec in specs}) < len(specs):
        raise InputError(f"the encoders {', '.join(spec.name for spec in specs)} would share a folder; give each once")
    if executor.texts and not executor.encodes_texts:
        raise InputError(f"{specs[0].name} has no text side, so captions cannot be embedded; leave out --texts")


def _can_scan(shard: Shard) -> bool:
    try:
        scan(shard)
    except ShardError:
        return False
    return True


def _run_with_retries(executor: Executor, jobs: Sequence[ShardJob], run: _Run) -> list[Broken]:
    """Runs jobs, and again those whose shards may become readable.

    Returns:
        The last event of every job whose shard could not be read.
    """
    given_up: list[Broken] = []
    for attempt in range(_TRIES):
        broken = _run_once(executor, jobs, run)
        is_last_try = attempt == _TRIES - 1
        given_up += [event for event in broken if is_last_try or not event.may_pass]
        jobs = [event.job for event in broken if event.may_pass and not is_last_try]
        if not jobs:
            break
        time.sleep(_PAUSE_SECONDS * 2**attempt)
    return given_up


def _run_once(executor: Executor, jobs: Sequence[ShardJob], run: _Run) -> list[Broken]:
    broken: list[Broken] = []
    ended: set[tuple[int, tuple[str, ...]]] = set()
    with closing(executor.run(jobs, run.gallery)) as events:
        for event in events:
            if isinstance(event, Written | Broken):
                if event.job.key in ended:  # it was tried twice
                    continue
                ended.add(event.job.key)
            run.take(event)
            if isinstance(event, Broken):
                broken.append(event)
    return broken


def _quarantine(broken: Sequence[Broken], executor: Executor, run: _Run) -> tuple[str, ...]:
    """Writes a part without rows for every new shard that cannot be read.

    Returns:
        Why existing parts could not be rebuilt, or could not get vectors in a further space; those parts stay as they
        are.
    """
    listed = {number for number, _ in run.manifest.parts}
    incomplete = []
    for event in broken:
        if event.job.spaces or event.job.part in listed:
            incomplete.append(event.reason)
        else:
            job, spec = event.job, run.manifest.spec
            write_quarantined_part(run.gallery, job.part, job.shard, spec, texts=executor.texts, reason=event.reason)
    return tuple(incomplete)


@dataclass(slots=True)
class _Run:
    """The progress of a run: its counts, its progress bar and the list of parts in gallery.json."""

    gallery: Path
    manifest: Manifest
    show_progress: bool
    num_jobs: int = 0
    num_images: int = 0
    num_failed: int = 0
    bar_failed: int = 0
    num_scanned: int = 0
    num_samples: int = 0
    # What was left out beside the pixels of images, by sentence: their number, and the first of their keys.
    noted: Counter[str] = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=dict)
    accepted: list[int] = field(default_factory=list)  # since the list of parts was saved
    next_save: float = field(default_factory=lambda: time.monotonic() + _MANIFEST_SECONDS)
    bar: tqdm = field(init=False)

    def __enter__(self) -> _Run:
        self.bar = tqdm(unit=" images", disable=not self.show_progress, dynamic_ncols=True, smoothing=0.1)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.bar.close()
        self.save()
        for note, count in sorted(self.noted.items()):
            some = ", ".join(self.named[note]) + (", …" if count > _NAMED else "")
            log.warning("%d images were embedded without some of their metadata (%s): %s", count, some, note)

    def take(self, event: Event) -> None:
        """Accepts what was written, counts it, and saves the list of parts from time to time."""
        if isinstance(event, Scanned) and event.num_samples is not None:
            self.num_scanned += 1
            self.num_samples += event.num_samples
            # Shards that are not scanned yet are assumed to have as many samples as the others.
            self.bar.total = max(self.num_samples, self.num_samples * self.num_jobs // self.num_scanned)
        elif isinstance(event, Encoded):
            self.bar_failed += event.num_failed
            self.bar.set_postfix(failed=self.bar_failed, refresh=False)
            self.bar.update(event.num_images + event.num_failed)
        elif isinstance(event, Written):
            if accept(self.gallery, event.job.part, event.attempt):
                self.accepted.append(event.job.part)
            self.num_images += event.num_rows
            self.num_failed += event.num_failed
            for key, note in event.notes:
                self.noted[note] += 1
                named = self.named.setdefault(note, [])
                named += [key] if len(named) < _NAMED else []
        if time.monotonic() > self.next_save:
            self.save()

    def save(self) -> None:
        """Adds the parts committed since the last call to gallery.json, and to the inventory."""
        started = time.monotonic()
        manifest = self.manifest.with_committed(self.gallery)
        if manifest != self.manifest:
            manifest.save(self.gallery)
        note_parts(self.gallery, self.accepted)
        self.manifest, self.accepted = manifest, []
        ended = time.monotonic()
        self.next_save = ended + max(_MANIFEST_SECONDS, _MANIFEST_PAUSE * (ended - started))

"""Jobs → batches of preprocessed images, in the order of the shards, read and decoded by threads or processes.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ...datasets import read_sample, scan
from ...datasets.decoding import Decoded, decode_guarded
from ...datasets.errors import InputError, SampleError, ShardError
from ...datasets.features import Thumbnail, features_of, thumbnail
from ...datasets.names import further_columns
from ...datasets.types import Entry, Failure, Sample, Scan, Shard
from ..encoders.preprocessing import Preprocess, stacked
from ..encoders.spec import ImageEncoder
from ..store.ledger import ShardJob
from ..store.moves import Moves
from ..store.parts import read_metadata
from ..store.tables import COLUMNS, Record
from .events import Event, Scanned
from .forks import end_with_parent, forkserver

# Batches that each worker prepares ahead: enough to hide a slow image, at little memory.
_PREFETCH = 2

# Some chunks are in memory at once. Only those of shards that are read from front to back hold the images' bytes.
_MAX_CHUNK_BYTES = 256 << 20

# After a larger image, its memory is given back: otherwise the heap of a worker keeps the sum of several.
_LARGE_BYTES = 64 << 20

# Images that go through the stages of decoding together, unless those before have this many bytes.
_GROUP = 16
_RUN_BYTES = 16 << 20

_Error = SampleError | ShardError  # why there is no image; one of a shard fails all of its images
Preprocessor = Callable[[np.ndarray], np.ndarray]  # `rgb_HWC` → `pixels_CHW`, both uint8


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The input of a worker: some entries of a shard. `broken` is set if the shard cannot be read."""

    job: ShardJob
    entries: Sequence[Entry]
    failures: Sequence[Failure] = ()
    is_last: bool = False
    broken: ShardError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The output of a worker: the records of B images, and for every encoder their `pixels_BCHW` uint8."""

    job: ShardJob
    pixels: tuple[torch.Tensor, ...]
    records: Sequence[Record]
    failures: Sequence[Failure]
    is_last: bool
    broken: ShardError | None
    notes: tuple[tuple[str, str], ...] = ()  # see `Committed`

    def pin_memory(self) -> Batch:
        """DataLoader calls this, so that copies to a GPU run asynchronously."""
        return replace(self, pixels=tuple(pixels.pin_memory() for pixels in self.pixels))


def batches(
    jobs: Iterable[ShardJob],
    gallery: Path,
    encoders: Sequence[ImageEncoder],
    *,
    batch_size: int,
    num_workers: int,
    on_event: Callable[[Event], None],
) -> Generator[Batch, None, None]:
    """Reads the samples of all jobs in order, and preprocesses them for all encoders; the last batch of a job says so.

    With `num_workers` 0, one thread per CPU core decodes each batch here, alternating with the model: on a CPU, where
    both want all cores, this is faster than workers beside the model. A GPU needs workers, which decode while it runs.

    A batch is `batch_size` entries of one shard, less those that fail. Its composition, and so every vector, does not
    depend on the number of workers. Each image is decoded once, whatever the number of encoders.

    Raises:
        InputError: if there are workers and an encoder's `preprocess` cannot be sent to them.
    """
    chunks = _Scanner(jobs, gallery, batch_size, on_event)
    decoder = Decoder([encoder.preprocess for encoder in encoders])
    if not num_workers:
        num_threads = os.cpu_count() or 1
        with ThreadPoolExecutor(num_threads) as threads:
            for chunk in chunks:
                yield decoder.decode(chunk, threads.map, num_threads)
        return
    for encoder in encoders:
        _check_preprocess_pickles(encoder)
    loader = DataLoader(
        decoder,
        sampler=chunks,
        batch_size=None,
        num_workers=num_workers,
        collate_fn=_unchanged,
        prefetch_factor=_PREFETCH,
        multiprocessing_context=forkserver(),
        worker_init_fn=partial(_set_up_worker, Image.MAX_IMAGE_PIXELS),
        pin_memory=torch.cuda.is_available(),
    )
    yield from loader


def _check_preprocess_pickles(encoder: ImageEncoder) -> None:
    if isinstance(encoder.preprocess, Preprocess):
        return
    try:
        pickle.dumps(encoder.preprocess)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise InputError(
            f"the preprocess of encoder {encoder.spec.name} cannot be sent to worker processes ({error}); use "
            "num_workers=0, or let the encoder have the attribute preprocess = Preprocess(spec)"
        ) from error


class _Scanner:
    """Scans the shards in order, only as far ahead as the workers need, and cuts them into chunks."""

    def __init__(
        self, jobs: Iterable[ShardJob], gallery: Path, batch_size: int, on_event: Callable[[Event], None]
    ) -> None:
        self._jobs = jobs
        self._gallery = gallery
        self._batch_size = batch_size
        self._on_event = on_event
        self._moves = Moves.read(gallery)

    def __iter__(self) -> Iterator[Chunk]:
        for job in self._jobs:
            try:
                yield from self._chunks(job)
            except ShardError as error:
                yield Chunk(job=job, entries=(), is_last=True, broken=error)

    def _chunks(self, job: ShardJob) -> Iterator[Chunk]:
        found = self._scan(job)
        self._on_event(Scanned(num_samples=found.num_entries))
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

    def _scan(self, job: ShardJob) -> Scan:
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


class Decoder(Dataset[Batch]):
    """Chunk → batch, in this process or in a worker. It has the encoders' preprocessing, never a model."""

    def __init__(self, preprocess: Sequence[Preprocessor]) -> None:
        self._preprocess = preprocess

    def __getitem__(self, chunk: Chunk) -> Batch:
        """Decodes a chunk in this thread."""
        return self.decode(chunk, map)

    def decode(self, chunk: Chunk, each: Callable[..., Iterable[Any]], num_threads: int = 1) -> Batch:
        """Decodes the entries of a chunk with `map` or with that of a pool of threads, and keeps their order."""
        shard, broken = chunk.job.shard, chunk.broken
        failures = list(chunk.failures)
        size = max(1, min(_GROUP, -(-len(chunk.entries) // num_threads)))
        groups = [chunk.entries[start : start + size] for start in range(0, len(chunk.entries), size)]
        results = (result for group in each(partial(self._decode_group, shard), groups) for result in group)
        decoded: list[_Decoded] = []
        for entry, result in zip(chunk.entries, results, strict=True):
            if isinstance(result, _Decoded):
                decoded.append(result)
            elif isinstance(result, ShardError):
                broken = broken or result
            else:
                failures.append(Failure(key=entry.key, shard=shard.uri, reason=result.reason, detail=result.detail))
        return Batch(
            job=chunk.job,
            pixels=tuple(_stack([d.pixels[i] for d in decoded]) for i in range(len(self._preprocess))),
            records=[d.record for d in decoded],
            failures=failures,
            is_last=chunk.is_last,
            broken=broken,
            notes=tuple((d.record["key"], note) for d in decoded for note in d.notes),
        )

    def _decode_group(self, shard: Shard, entries: Sequence[Entry]) -> list[_Decoded | _Error]:
        """Some images, stage by stage: all are read, then all are decoded, and so on, as far as memory allows.

        This takes a sixth less time than one image after the other, because the code of a stage stays in the cache.
        """
        done: list[_Pixels | _Error] = []
        for samples in _runs(map(_read, entries), lambda sample: len(sample.image)):
            for opened in _runs(map(_opened, samples), lambda image: image[1].rgb_HWC.nbytes):
                done += self._resized(opened)
        features = iter(features_of([image.thumbnail for image in done if isinstance(image, _Pixels)]))
        return [
            _Decoded(record=_record(shard, image, next(features)), pixels=image.pixels, notes=image.notes)
            if isinstance(image, _Pixels)
            else image
            for image in done
        ]

    def _resized(self, images: Sequence[_Opened | _Error]) -> list[_Pixels | _Error]:
        pixels = [
            [preprocess(image[1].rgb_HWC) for preprocess in self._preprocess] if isinstance(image, tuple) else []
            for image in images
        ]
        done = [
            _pixels(image, resized) if isinstance(image, tuple) else image
            for image, resized in zip(images, pixels, strict=True)
        ]
        if any(isinstance(image, tuple) and image[1].rgb_HWC.nbytes > _LARGE_BYTES for image in images):
            del images, pixels
            _return_memory()
        return done


def _read(entry: Entry) -> Sample | _Error:
    try:
        return read_sample(entry)
    except (SampleError, ShardError) as error:
        return error


_Opened = tuple[Sample, Decoded]


def _opened(sample: Sample | _Error) -> _Opened | _Error:
    if not isinstance(sample, Sample):
        return sample
    try:
        return replace(sample, image=b""), decode_guarded(sample.image)
    except SampleError as error:
        return error


def _pixels(image: _Opened, pixels: Sequence[np.ndarray]) -> _Pixels:
    sample, found = image
    height, width = found.rgb_HWC.shape[:2]
    return _Pixels(
        sample=sample,
        size=(width, height),
        thumbnail=thumbnail(found.rgb_HWC),
        pixels=pixels,
        notes=(*sample.notes, *found.notes),
    )


T = TypeVar("T")


def _runs(items: Iterable[T | _Error], num_bytes: Callable[[T], int]) -> Iterator[list[T | _Error]]:
    """Takes items, which may be made only then, until together they have many bytes."""
    run: list[T | _Error] = []
    total = 0
    for item in items:
        run.append(item)
        total += 0 if isinstance(item, (SampleError, ShardError)) else num_bytes(item)
        if total > _RUN_BYTES:
            yield run
            run, total = [], 0
    yield run


def _return_memory() -> None:
    """Gives the free memory of the heap back to the system, where the C library can do that (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pixels:
    """One image: its sample without the file, its width and height, and `pixels_CHW` uint8 for every encoder.

    `notes` are what was left out of its metadata.
    """

    sample: Sample
    size: tuple[int, int]
    thumbnail: Thumbnail
    pixels: Sequence[np.ndarray]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoded:
    """The same with its record, after the features were measured."""

    record: Record
    pixels: Sequence[np.ndarray]
    notes: tuple[str, ...]


def _stack(pixels: list[np.ndarray]) -> torch.Tensor:
    return stacked(pixels) if pixels else torch.zeros(0, dtype=torch.uint8)


def _record(shard: Shard, image: _Pixels, features: Mapping[str, Any]) -> Record:
    """A row of metadata: the fixed columns, then the sample's other fields; see `further_columns` for their names."""
    sample = image.sample
    fixed: dict[str, Any] = {
        "key": sample.key,
        "shard": shard.uri,
        "offset": sample.offset,
        "length": sample.length,
        "image_path": sample.image_path,
        "caption": sample.caption,
        "url": _url(sample.metadata),
        "width": image.size[0],
        "height": image.size[1],
        **features,
    }
    assert list(fixed) == list(COLUMNS), "the columns of a record and of a part differ"
    return {**fixed, **further_columns(fixed, sample.metadata.items())}


def _url(fields: Mapping[str, Any]) -> str | None:
    return next((str(value) for name, value in fields.items() if name.lower() == "url" and value), None)


def _unchanged(batch: Any) -> Any:
    return batch


def _set_up_worker(most_pixels: int | None, worker: int) -> None:
    """One thread, because the CPU cores belong to the model. Pillow's warnings are off: failures are recorded.

    A worker starts with Pillow's default limit of pixels, so it gets that of the process which started it. When that
    process dies, the worker ends: PyTorch would notice only the end of the process that the worker is a fork of.
    """
    del worker
    end_with_parent()
    Image.MAX_IMAGE_PIXELS = most_pixels
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="PIL")

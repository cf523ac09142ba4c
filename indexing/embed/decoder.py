"""Entries of a shard → a batch of preprocessed images with their records, in a thread or in a worker.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset

from ...datasets import read_sample
from ...datasets.decoding import Decoded, decode_guarded
from ...datasets.errors import SampleError, ShardError
from ...datasets.features import Thumbnail, features_of, thumbnail
from ...datasets.names import further_columns
from ...datasets.types import Entry, Failure, Sample, Shard
from ..encoders.preprocessing import Stack
from ..store.ledger import ShardJob
from ..store.tables import COLUMNS, Record
from .blocks import Blocks
from .scanning import Chunk
from .scanning_process import Packed

# After a larger image, its memory is given back: otherwise the heap of a worker keeps the sum of several.
_LARGE_BYTES = 64 << 20

# Images that go through the stages of decoding together, unless those before have this many bytes.
_GROUP = 16
_RUN_BYTES = 16 << 20

_Error = SampleError | ShardError  # why there is no image; one of a shard fails all of its images
Preprocessor = Callable[[np.ndarray], np.ndarray]  # `rgb_HWC` → `pixels_CHW`, both uint8


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """The input of a worker.

    `number` counts the chunks of a loop from 0, and the batches that are made of them. Of the first `num_done` batches
    nobody needs the pixels any more.
    """

    number: int
    num_done: int
    chunk: Packed


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The output of a worker: the records of B images, and for every encoder their `pixels_BCHW` uint8."""

    job: ShardJob
    pixels: tuple[torch.Tensor, ...]
    records: Sequence[Record]
    failures: Sequence[Failure]
    is_last: bool
    broken: ShardError | None
    notes: tuple[tuple[str, str], ...] = ()  # see `Written`

    def pin_memory(self) -> Batch:
        """DataLoader calls this, so that copies to a GPU run asynchronously."""
        return replace(self, pixels=tuple(pixels.pin_memory() for pixels in self.pixels))


class Decoder(Dataset[Batch]):
    """Chunk → batch, in this process or in a worker. It has the encoders' preprocessing, never a model."""

    def __init__(self, preprocess: Sequence[Preprocessor]) -> None:
        self._preprocess = preprocess
        self._blocks = Blocks()

    def __getitem__(self, item: Item) -> Batch:
        """Decodes a chunk in this worker, into memory that the job's own process gets without a copy."""
        self._blocks.release(item.num_done)
        return self.decode(item.chunk.unpack(), map, allocate=partial(self._blocks.take, item.number))

    def decode(
        self,
        chunk: Chunk,
        each: Callable[..., Iterable[Any]],
        num_threads: int = 1,
        allocate: Callable[[int], torch.UntypedStorage] | None = None,
    ) -> Batch:
        """Decodes the entries of a chunk with `map` or with that of a pool of threads, and keeps their order."""
        shard, broken = chunk.job.shard, chunk.broken
        stacks = [Stack(len(chunk.entries), allocate) for _ in self._preprocess]
        failures = list(chunk.failures)
        size = max(1, min(_GROUP, -(-len(chunk.entries) // num_threads)))
        starts = range(0, len(chunk.entries), size)
        groups = [chunk.entries[start : start + size] for start in starts]
        results = (
            result for group in each(partial(self._decode_group, shard, stacks), starts, groups) for result in group
        )
        decoded: list[_Decoded] = []
        places: list[int] = []
        for place, (entry, result) in enumerate(zip(chunk.entries, results, strict=True)):
            if isinstance(result, _Decoded):
                decoded.append(result)
                places.append(place)
            elif isinstance(result, ShardError):
                broken = broken or result
            else:
                failures.append(Failure(key=entry.key, shard=shard.uri, reason=result.reason, detail=result.detail))
        return Batch(
            job=chunk.job,
            pixels=tuple(stack.batch(places) for stack in stacks),
            records=[d.record for d in decoded],
            failures=failures,
            is_last=chunk.is_last,
            broken=broken,
            notes=tuple((d.record["key"], note) for d in decoded for note in d.notes),
        )

    def _decode_group(
        self, shard: Shard, stacks: Sequence[Stack], start: int, entries: Sequence[Entry]
    ) -> list[_Decoded | _Error]:
        """Some images, stage by stage: all are read, then all are decoded, and so on, as far as memory allows.

        This takes a sixth less time than one image after the other, because the code of a stage stays in the cache.
        """
        done: list[_Small | _Error] = []
        for samples in _runs(map(_read, entries), lambda sample: len(sample.image)):
            for opened in _runs(map(_opened, samples), lambda image: image[1].rgb_HWC.nbytes):
                done += self._resized(opened, stacks, start + len(done))
        features = iter(features_of([image.thumbnail for image in done if isinstance(image, _Small)]))
        return [
            _Decoded(record=_record(shard, image, next(features)), notes=image.notes)
            if isinstance(image, _Small)
            else image
            for image in done
        ]

    def _resized(
        self, images: Sequence[_Opened | _Error], stacks: Sequence[Stack], start: int
    ) -> list[_Small | _Error]:
        """Puts the pixels of images for each encoder to their places, from `start` on."""
        for place, image in enumerate(images, start):
            if isinstance(image, tuple):
                for stack, preprocess in zip(stacks, self._preprocess, strict=True):
                    stack.put(place, preprocess(image[1].rgb_HWC))
        done = [_small(image) if isinstance(image, tuple) else image for image in images]
        if any(isinstance(image, tuple) and image[1].rgb_HWC.nbytes > _LARGE_BYTES for image in images):
            del images
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


def _small(image: _Opened) -> _Small:
    sample, found = image
    height, width = found.rgb_HWC.shape[:2]
    return _Small(
        sample=sample,
        size=(width, height),
        thumbnail=thumbnail(found.rgb_HWC),
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
class _Small:
    """What is kept of an image: its sample without the file, its width and height, and what features are measured on.

    `notes` are what was left out of its metadata.
    """

    sample: Sample
    size: tuple[int, int]
    thumbnail: Thumbnail
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoded:
    """The record of an image, after the features were measured."""

    record: Record
    notes: tuple[str, ...]


def _record(shard: Shard, image: _Small, features: Mapping[str, Any]) -> Record:
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

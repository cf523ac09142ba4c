"""Jobs → batches of preprocessed pictures, in the order of the shards, read and decoded by worker processes.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ...datasets import decode, image_features, read_sample, scan
from ...datasets.errors import SampleError, ShardError
from ...datasets.types import Entry, Failure, Sample, Scan, Shard
from ..encoders.preprocess import preprocess
from ..encoders.spec import EncoderSpec
from ..store.ledger import Job
from ..store.parts import COLUMNS, Record, read_metadata
from .events import Event, Scanned

# Batches that each worker has ready or in the making: enough to hide a slow picture, at little memory.
_PREFETCH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a worker gets: some of a shard's entries. `broken` says why the shard cannot be read."""

    job: Job
    entries: Sequence[Entry]
    failures: Sequence[Failure] = ()
    is_last: bool = False
    broken: ShardError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a worker gives: for every encoder `pixels_BCHW` uint8, and the record of each of the B pictures."""

    job: Job
    pixels: tuple[torch.Tensor, ...]
    records: Sequence[Record]
    failures: Sequence[Failure]
    is_last: bool
    broken: ShardError | None

    def pin_memory(self) -> Batch:
        """Called by DataLoader, so that copies to a GPU need not wait."""
        return replace(self, pixels=tuple(pixels.pin_memory() for pixels in self.pixels))


def batches(
    jobs: Iterable[Job],
    gallery: Path,
    specs: Sequence[EncoderSpec],
    *,
    batch_size: int,
    num_workers: int,
    on_event: Callable[[Event], None],
) -> Generator[Batch, None, None]:
    """Reads all jobs' samples in order; every job ends with a batch that is the last.

    Where workers are 0, a thread a processor decodes each batch here, in turn with the model: on a CPU, where both want
    all processors, that is faster than workers beside it. A GPU wants workers, which decode while it runs.

    A batch is `batch_size` entries of one shard, less those that fail: its composition, and so every vector, does not
    depend on the number of workers. Each picture is decoded once, whatever the number of encoders.
    """
    work = _Scanner(jobs, gallery, batch_size, on_event)
    decoder = _Decoder(specs)
    if not num_workers:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for piece in work:
                yield decoder.decode(piece, threads.map)
        return
    loader = DataLoader(
        decoder,
        sampler=work,
        batch_size=None,
        num_workers=num_workers,
        collate_fn=_unchanged,
        prefetch_factor=_PREFETCH,
        # Not fork: a child of a process in which OpenMP or FAISS has run may hang.
        multiprocessing_context="spawn",
        worker_init_fn=_set_up_worker,
        pin_memory=torch.cuda.is_available(),
    )
    with _workers_ignore_interrupts():
        iterator = iter(loader)
    yield from iterator


@contextmanager
def _workers_ignore_interrupts() -> Iterator[None]:
    """Processes started in here ignore Ctrl-C from their first moment: it reaches them too, but the job ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Scanner:
    """Scans one shard after the other, as far ahead as the workers are fed, and cuts it into work."""

    def __init__(self, jobs: Iterable[Job], gallery: Path, batch_size: int, on_event: Callable[[Event], None]) -> None:
        self._jobs = jobs
        self._gallery = gallery
        self._batch_size = batch_size
        self._on_event = on_event

    def __iter__(self) -> Iterator[Work]:
        for job in self._jobs:
            try:
                yield from self._works(job)
            except ShardError as error:
                yield Work(job=job, entries=(), is_last=True, broken=error)

    def _works(self, job: Job) -> Iterator[Work]:
        found = self._scan(job)
        self._on_event(Scanned(num_samples=found.num_entries))
        entries = iter(found.entries)
        told = 0
        chunk: Sequence[Entry] = tuple(islice(entries, self._batch_size))
        while True:
            following = tuple(islice(entries, self._batch_size))
            yield Work(job=job, entries=chunk, failures=found.failures[told:], is_last=not following)
            told = len(found.failures)
            if not following:
                return
            chunk = following

    def _scan(self, job: Job) -> Scan:
        found = scan(job.shard)
        if not job.spaces:
            return found
        # The part exists: its rows, and no others, get vectors in further spaces. What failed then is known.
        keys = read_metadata(self._gallery, job.part, ["key"])["key"].to_pylist()
        wanted = set(keys)
        entries = (entry for entry in found.entries if entry.key in wanted)
        return Scan(entries=entries, failures=[], num_entries=len(keys))


class _Decoder(Dataset[Batch]):
    """Work → batch, wherever it runs; knows the encoders' specs alone, never a model."""

    def __init__(self, specs: Sequence[EncoderSpec]) -> None:
        self._specs = specs

    def __getitem__(self, work: Work) -> Batch:
        return self.decode(work, map)

    def decode(self, work: Work, each: Callable[..., Iterable[_Decoded | SampleError | ShardError]]) -> Batch:
        """Decodes all entries of some work, by `map` or by that of a pool of threads; their order stays."""
        broken = work.broken
        failures = list(work.failures)
        decoded: list[_Decoded] = []
        for entry, result in zip(work.entries, each(partial(self._decode, work.job.shard), work.entries), strict=True):
            if isinstance(result, _Decoded):
                decoded.append(result)
            elif isinstance(result, ShardError):
                broken = broken or result
            else:
                uri = work.job.shard.uri
                failures.append(Failure(key=entry.key, shard=uri, reason=result.reason, detail=result.detail))
        pixels = tuple(_stack([d.pictures[i] for d in decoded], spec) for i, spec in enumerate(self._specs))
        records = [result.record for result in decoded]
        return Batch(
            job=work.job, pixels=pixels, records=records, failures=failures, is_last=work.is_last, broken=broken
        )

    def _decode(self, shard: Shard, entry: Entry) -> _Decoded | SampleError | ShardError:
        try:
            sample = read_sample(entry)
            rgb_HWC = decode(sample.image)
            pictures = [preprocess(rgb_HWC, spec) for spec in self._specs]
        except (SampleError, ShardError) as error:
            return error
        return _Decoded(record=_record(shard, sample, rgb_HWC), pictures=pictures)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoded:
    """A picture for every encoder, `pixels_CHW` uint8, and its record."""

    record: Record
    pictures: Sequence[np.ndarray]


def _stack(pictures: list[np.ndarray], spec: EncoderSpec) -> torch.Tensor:
    shape = (0, 3, spec.image_size, spec.image_size)
    return torch.from_numpy(np.stack(pictures) if pictures else np.zeros(shape, np.uint8))


def _record(shard: Shard, sample: Sample, rgb_HWC: np.ndarray) -> Record:
    """A row of metadata. The fixed columns are ours; the sample's further fields follow under their own names."""
    fixed: dict[str, Any] = {
        "key": sample.key,
        "shard": shard.uri,
        "offset": sample.offset,
        "length": sample.length,
        "image_path": sample.image_path,
        "caption": sample.caption,
        "url": _url(sample.metadata),
        "width": rgb_HWC.shape[1],
        "height": rgb_HWC.shape[0],
        **image_features(rgb_HWC),
    }
    assert list(fixed) == list(COLUMNS), "the columns of a record and of a part differ"
    further = {name: value for name, value in sample.metadata.items() if name.lower() not in fixed}
    return {**fixed, **further}


def _url(fields: Mapping[str, Any]) -> str | None:
    return next((str(value) for name, value in fields.items() if name.lower() == "url" and value), None)


def _unchanged(batch: Any) -> Any:
    return batch


def _set_up_worker(worker: int) -> None:
    """The processors are the model's; what Pillow has to say of odd files is in the failures."""
    del worker
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="PIL")

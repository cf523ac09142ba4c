"""Jobs → batches of preprocessed pictures, in the order of the shards, read and decoded by worker processes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..datasets import decode, read_sample, scan
from ..datasets.types import Entry, Failure, Sample, SampleError, Shard, ShardError
from .encoders.preprocess import preprocess
from .encoders.spec import EncoderSpec
from .ledger import Job
from .parts import COLUMNS, Record

# Batches that each worker has ready or in the making: enough to hide a slow picture, at little memory.
_PREFETCH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a worker gets: some of a shard's entries. `quarantined` says why the shard could not be scanned."""

    job: Job
    entries: Sequence[Entry]
    failures: Sequence[Failure] = ()
    is_last: bool = False
    quarantined: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a worker gives: `pixels_BCHW` uint8, and the record of each of the B pictures."""

    work: Work
    pixels_BCHW: torch.Tensor  # noqa: N815
    records: Sequence[Record]
    failures: Sequence[Failure]


def batches(
    jobs: Sequence[Job],
    spec: EncoderSpec,
    *,
    batch_size: int,
    num_workers: int,
    on_scan: Callable[[int], None],
) -> Iterator[Batch]:
    """Reads all jobs' samples in order; every job ends with a batch whose work is the last.

    A batch is `batch_size` entries of one shard, less those that fail: its composition, and so every vector, does not
    depend on the number of workers. `on_scan` is told how many samples each shard has, when that is known.
    """
    loader = DataLoader(
        _Decoder(spec),
        sampler=_Scanner(jobs, batch_size, on_scan),
        batch_size=None,
        num_workers=num_workers,
        collate_fn=_unchanged,
        prefetch_factor=_PREFETCH if num_workers else None,
        # Not fork: a child of a process in which OpenMP or FAISS has run may hang.
        multiprocessing_context="spawn" if num_workers else None,
        worker_init_fn=_ignore_interrupts if num_workers else None,
        pin_memory=torch.cuda.is_available(),
    )
    yield from loader


class _Scanner:
    """Scans one shard after the other, as far ahead as the workers are fed, and cuts it into work."""

    def __init__(self, jobs: Sequence[Job], batch_size: int, on_scan: Callable[[int], None]) -> None:
        self._jobs = jobs
        self._batch_size = batch_size
        self._on_scan = on_scan

    def __iter__(self) -> Iterator[Work]:
        for job in self._jobs:
            yield from self._works(job)

    def _works(self, job: Job) -> Iterator[Work]:
        try:
            found = scan(job.shard)
        except ShardError as error:
            self._on_scan(0)
            yield Work(job=job, entries=(), is_last=True, quarantined=str(error))
            return
        self._on_scan(len(found.entries) + len(found.failures))
        yield Work(job=job, entries=(), failures=found.failures, is_last=not found.entries)
        entries = iter(found.entries)
        left = len(found.entries)
        while chunk := tuple(islice(entries, self._batch_size)):
            left -= len(chunk)
            yield Work(job=job, entries=chunk, is_last=left == 0)


class _Decoder(Dataset[Batch]):
    """Work → batch, wherever it runs; knows the encoder's spec alone, never its model."""

    def __init__(self, spec: EncoderSpec) -> None:
        self._spec = spec

    def __getitem__(self, work: Work) -> Batch:
        side = self._spec.image_size
        pixels: list[np.ndarray] = []
        records: list[Record] = []
        failures = list(work.failures)
        for entry in work.entries:
            try:
                sample = read_sample(entry)
                rgb_HWC = decode(sample.image)
                picture = preprocess(rgb_HWC, self._spec)
            except SampleError as error:
                uri = work.job.shard.uri
                failures.append(Failure(key=entry.key, shard=uri, reason=error.reason, detail=error.detail))
                continue
            pixels.append(picture)
            records.append(_record(work.job.shard, sample, rgb_HWC.shape[1], rgb_HWC.shape[0]))
        stacked = np.stack(pixels) if pixels else np.zeros((0, 3, side, side), np.uint8)
        return Batch(work=work, pixels_BCHW=torch.from_numpy(stacked), records=records, failures=failures)


def _record(shard: Shard, sample: Sample, width: int, height: int) -> Record:
    """A row of metadata. The fixed columns are ours; the sample's further fields follow under their own names."""
    fixed: dict[str, Any] = {
        "key": sample.key,
        "shard": shard.uri,
        "offset": sample.offset,
        "length": sample.length,
        "image_path": sample.image_path,
        "caption": sample.caption,
        "url": _url(sample.metadata),
        "width": width,
        "height": height,
    }
    assert list(fixed) == list(COLUMNS)
    further = {name: value for name, value in sample.metadata.items() if name.lower() not in fixed}
    return {**fixed, **further}


def _url(fields: Mapping[str, Any]) -> str | None:
    return next((str(value) for name, value in fields.items() if name.lower() == "url" and value), None)


def _unchanged(batch: Any) -> Any:
    return batch


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches the whole process group; the job itself ends its workers."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)

"""Jobs → batches of preprocessed images, in the order of the shards, read and decoded by threads or processes.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader

from ...datasets import scan
from ...datasets.errors import InputError, ShardError
from ...datasets.types import Entry, Scan
from ..encoders.preprocessing import Preprocess
from ..encoders.spec import ImageEncoder
from ..store.ledger import ShardJob
from ..store.moves import Moves
from ..store.parts import read_metadata
from .decoder import Batch, Chunk, Decoder
from .events import Event, Scanned
from .forks import end_with_parent, forkserver, ignore_gone_readers

# Batches that each worker prepares ahead: enough to hide a slow image, at little memory.
_PREFETCH = 2

# Some chunks are in memory at once. Only those of shards that are read from front to back hold the images' bytes.
_MAX_CHUNK_BYTES = 256 << 20


def batches(
    jobs: Iterable[ShardJob],
    gallery: Path,
    encoders: Sequence[ImageEncoder],
    *,
    batch_size: int,
    num_workers: int,
    on_event: Callable[[Event], None],
    num_done: Callable[[], int] = lambda: 0,
) -> Generator[Batch, None, None]:
    """Reads the samples of all jobs in order, and preprocesses them for all encoders; the last batch of a job says so.

    With `num_workers` 0, one thread per CPU core decodes each batch here, alternating with the model: on a CPU, where
    both want all cores, this is faster than workers beside the model. A GPU needs workers, which decode while it runs.

    A batch is `batch_size` entries of one shard, less those that fail. Its composition, and so every vector, does not
    depend on the number of workers. Each image is decoded once, whatever the number of encoders.

    Args:
        jobs: taken one by one, a little ahead of the work.
        gallery: the gallery's folder.
        encoders: only their preprocessing is used.
        batch_size: entries per batch.
        num_workers: processes that read and decode.
        on_event: gets the event of every scan.
        num_done: how many batches have been encoded, in their order. Workers use the memory of their pixels again.

    Raises:
        InputError: if there are workers and an encoder's `preprocess` cannot be sent to them.
    """
    chunks = _Scanner(jobs, gallery, batch_size, on_event, num_done)
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
        self,
        jobs: Iterable[ShardJob],
        gallery: Path,
        batch_size: int,
        on_event: Callable[[Event], None],
        num_done: Callable[[], int],
    ) -> None:
        self._jobs = jobs
        self._gallery = gallery
        self._batch_size = batch_size
        self._on_event = on_event
        self._num_done = num_done
        self._numbers = count()
        self._moves = Moves.read(gallery)

    def __iter__(self) -> Iterator[Chunk]:
        for job in self._jobs:
            try:
                yield from self._chunks(job)
            except ShardError as error:
                yield self._chunk(job, entries=(), is_last=True, broken=error)

    def _chunk(self, job: ShardJob, **fields: Any) -> Chunk:
        return Chunk(number=next(self._numbers), num_done=self._num_done(), job=job, **fields)

    def _chunks(self, job: ShardJob) -> Iterator[Chunk]:
        found = self._scan(job)
        self._on_event(Scanned(num_samples=found.num_entries))
        entries = iter(found.entries)
        num_reported = 0
        current: Sequence[Entry] = _take(entries, self._batch_size)
        while True:
            following = _take(entries, self._batch_size)
            failures = [replace(failure, shard=job.shard.uri) for failure in found.failures[num_reported:]]
            yield self._chunk(job, entries=current, failures=failures, is_last=not following)
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


def _unchanged(batch: Any) -> Any:
    return batch


def _set_up_worker(most_pixels: int | None, worker: int) -> None:
    """One thread, because the CPU cores belong to the model. Pillow's warnings are off: failures are recorded.

    A worker starts with Pillow's default limit of pixels, so it gets that of the process which started it. When that
    process dies, the worker ends: PyTorch would notice only the end of the process that the worker is a fork of.
    """
    del worker
    end_with_parent()
    ignore_gone_readers()
    Image.MAX_IMAGE_PIXELS = most_pixels
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="PIL")

"""Jobs → batches of preprocessed images, in the order of the shards, read and decoded by threads or processes.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader

from ...datasets.errors import InputError
from ..encoders.preprocessing import Preprocess
from ..encoders.spec import ImageEncoder
from ..store.ledger import ShardJob
from .decoder import Batch, Decoder, Item
from .events import Event
from .forks import end_with_parent, forkserver, ignore_gone_readers
from .scanning import scanned
from .scanning_process import Packed, scanned_beside

# Batches that each worker prepares ahead: enough to hide a slow image, at little memory.
_PREFETCH = 2


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
        num_workers: processes that read and decode; one more scans the shards.
        on_event: gets the event of every scan.
        num_done: how many batches have been encoded, in their order. Workers use the memory of their pixels again.

    Raises:
        InputError: if there are workers and an encoder's `preprocess` cannot be sent to them.
        JobError: if there are workers and the process that scans dies.
    """
    decoder = Decoder([encoder.preprocess for encoder in encoders])
    if not num_workers:
        num_threads = os.cpu_count() or 1
        with ThreadPoolExecutor(num_threads) as threads:
            for chunk in scanned(jobs, gallery, batch_size, on_event):
                yield decoder.decode(chunk, threads.map, num_threads)
        return
    for encoder in encoders:
        _check_preprocess_pickles(encoder)
    with scanned_beside(jobs, gallery, batch_size, on_event) as chunks:
        items = _Items(chunks, num_done)
        yield from DataLoader(
            decoder,
            sampler=items,
            batch_size=None,
            num_workers=num_workers,
            collate_fn=_unchanged,
            prefetch_factor=_PREFETCH,
            multiprocessing_context=forkserver(),
            worker_init_fn=partial(_set_up_worker, Image.MAX_IMAGE_PIXELS),
            pin_memory=torch.cuda.is_available(),
        )
        if items.error is not None:
            raise items.error


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


class _Items:
    """What DataLoader gives to the workers. It asks only as far ahead as they need.

    An error is kept in `error` and ends the items. DataLoader does not expect one: it would leave its workers to the
    garbage collector, which closes their queues twice.
    """

    def __init__(self, chunks: Iterable[Packed], num_done: Callable[[], int]) -> None:
        self._chunks = chunks
        self._num_done = num_done
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[Item]:
        try:
            for number, chunk in enumerate(self._chunks):
                yield Item(number=number, num_done=self._num_done(), chunk=chunk)
        except Exception as error:  # raised when what came before it has been encoded
            self.error = error


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

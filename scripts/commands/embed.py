"""`diantu embed`."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ...datasets import InputError, find_shards

if TYPE_CHECKING:
    from ...indexing.embed.executors import Executor
    from ...indexing.embed.job import Summary
    from ...indexing.embed.loop import LoopSettings
    from ...indexing.encoders import Precision

log = logging.getLogger(__name__)

_TEXTS = ("none", "captions")


def run(
    source: list[str],
    output: str,
    encoder: list[str] = ["conse"],  # noqa: B006 - read, never changed
    captions: str = "auto",
    texts: str = "none",
    batch_size: int | None = None,
    num_workers: int | None = None,
    num_processes: int | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> int:
    """Turns shards of images into a gallery; run it again to go on where it stopped, or to add shards.

    Args:
        source: tars ('shards/{00000..00099}.tar', 'shards/*.tar', also .tar.gz), parquet files with pictures, folders
            of them, or folders of pictures; paths or URIs (s3://…).
        output: the gallery's folder.
        encoder: conse, cn_clip:<model or .pt>, hf:<repository or folder>; the first one's vectors are searched, further
            ones go to spaces/.
        captions: for folders of pictures, the CSV or JSONL table of captions; auto finds it in the folder, none uses
            none.
        texts: captions embeds the captions too (text_emb/), none does not.
        batch_size: pictures that go through the model at a time; by default 16 on a CPU, 256 on a GPU.
        num_workers: processes that read and decode, for every embedding process; 0 decodes in threads of that process.
            By default 0 on a CPU, and on GPUs as many as there are processors.
        num_processes: processes that embed, each with its own model; by default one a GPU.
        device: auto, cpu, cuda or cuda:<number>.
        precision: auto (bf16 where the hardware multiplies it), fp32 or bf16.
    """
    from ...indexing.embed.job import BATCH_SIZE, embed_with
    from ...indexing.embed.loop import LoopSettings
    from ...indexing.encoders.spec import as_precision
    from ...indexing.encoders.torch_encoder import resolve_device

    if texts not in _TEXTS:
        raise InputError(f"texts {texts!r} is not known; give one of: {', '.join(_TEXTS)}")
    shards = find_shards(source, captions=captions)
    devices = _devices(device, num_processes)
    settings = LoopSettings(
        batch_size=BATCH_SIZE.get(resolve_device(devices[0]).type, 16) if batch_size is None else batch_size,
        num_workers=_default_workers(devices) if num_workers is None else num_workers,
        texts=texts == "captions",
    )
    with ExitStack() as stack:
        executor = _executor(encoder, devices, as_precision(precision), settings, stack)
        summary = embed_with(executor, shards, Path(output), show_progress=True)
    return _report(summary, output)


def _devices(device: str, num_processes: int | None) -> list[str]:
    """One device an embedding process; with `auto`, the GPUs in turn."""
    import torch

    num_gpus = torch.cuda.device_count() if device == "auto" else 0
    count = num_processes if num_processes is not None else max(1, num_gpus)
    if count < 1:
        raise InputError(f"{num_processes} processes cannot embed anything; give at least 1")
    return [f"cuda:{i % num_gpus}" if num_gpus else device for i in range(count)]


def _default_workers(devices: list[str]) -> int:
    from ...indexing.encoders.torch_encoder import resolve_device

    if resolve_device(devices[0]).type == "cpu":
        return 0
    return max(1, (os.cpu_count() or 1) // len(devices))


def _executor(
    encoders: list[str], devices: list[str], precision: Precision, settings: LoopSettings, stack: ExitStack
) -> Executor:
    from ...indexing.embed.executors import InProcess, LocalProcesses
    from ...indexing.encoders import load_encoder

    if len(devices) > 1:
        return stack.enter_context(LocalProcesses(encoders, settings, devices=devices, precision=precision))
    return InProcess([load_encoder(name, device=devices[0], precision=precision) for name in encoders], settings)


def _report(summary: Summary, output: str) -> int:
    if summary.num_failed:
        log.info("which failed and why: diantu status --gallery %s --failures", output)
    for part in summary.quarantined:
        log.error("left out as a whole: %s", part.quarantined)
    for reason in summary.lacking:
        log.error("a part that cannot be completed: %s", reason)
    log.info("%s", summary)
    return 1 if summary.quarantined or summary.lacking else 0

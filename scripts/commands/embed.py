"""`diantu embed`."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from ...datasets.errors import InputError

if TYPE_CHECKING:
    from ...datasets.types import Shard
    from ...indexing.embed.executors import Executor, Slurm
    from ...indexing.embed.job import Summary
    from ...indexing.embed.loop import LoopSettings
    from ...indexing.encoders import Precision, Runtime

log = logging.getLogger(__name__)

_TEXTS = ("none", "captions")
_EXECUTORS = ("local", "slurm")


class _How(TypedDict):
    """How encoders compute."""

    precision: Precision
    runtime: Runtime


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
    runtime: str = "auto",
    executor: str = "local",
    slurm_template: str | None = None,
    wait: bool = False,
) -> int:
    """Computes the embeddings of images and makes a gallery; run it again to continue, or to add shards.

    Args:
        source: tars ('shards/{00000..00099}.tar', 'shards/*.tar', also .tar.gz), parquet files that contain images,
            folders of either, or folders of images; paths or URIs (s3://…).
        output: the gallery's folder.
        encoder: conse, cn_clip:<model or .pt file>, hf:<repository or folder>, or
            open_clip:<architecture>/<weights>. Searches use the vectors of the first one; vectors of others go to
            spaces/ (see diantu search --space).
        captions: for folders of images, the table of captions: CSV, JSONL, JSON or COCO's captions; auto looks for it
            in the folder, none uses no table.
        texts: captions (embed the captions, too, into text_emb/) or none.
        batch_size: images per batch of the model; by default 16 on a CPU, 256 on a GPU.
        num_workers: number of processes that read and decode, per embedding process; 0 decodes in threads of that
            process. By default 0 on a CPU, and one per CPU core, shared by all GPUs, on GPUs.
        num_processes: number of processes that embed, each with its own model; by default one per GPU. With slurm, the
            number of tasks; by default 8.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
        precision: auto (bf16 where the hardware supports it, else fp32), fp32 or bf16.
        runtime: what computes the vectors of images: torch, compiled, onnxruntime, openvino, tensorrt, or auto: torch,
            unless diantu bench-encoder has measured that another one is faster here.
        executor: local (processes of this machine) or slurm (submits array jobs; diantu status follows them).
        slurm_template: the batch script with your partition, GPUs and time limit: a changed copy of what
            python -m diantu.scripts.slurm_template prints.
        wait: with slurm, wait for the jobs, and cancel them on Ctrl-C.
    """
    from ...datasets import find_shards
    from ...indexing.embed.executors import Slurm
    from ...indexing.embed.job import BATCH_SIZE, embed_with
    from ...indexing.embed.loop import LoopSettings
    from ...indexing.encoders import as_runtime
    from ...indexing.encoders.spec import as_precision
    from ...indexing.encoders.torch_encoder import resolve_device

    if texts not in _TEXTS:
        raise InputError(f"texts {texts!r} is not known; give one of: {', '.join(_TEXTS)}")
    if executor not in _EXECUTORS:
        raise InputError(f"executor {executor!r} is not known; give one of: {', '.join(_EXECUTORS)}")
    if executor != "slurm" and (wait or slurm_template is not None):
        raise InputError("--wait and --slurm-template belong to --executor slurm; give that, or leave them out")
    shards = find_shards(source, captions=captions)
    if executor == "slurm":
        slurm = Slurm(
            encoder,
            texts=texts == "captions",
            batch_size=batch_size,
            num_workers=num_workers,
            device=device,
            precision=as_precision(precision),
            runtime=as_runtime(runtime),
            num_tasks=num_processes,
            template=None if slurm_template is None else Path(slurm_template),
        )
        return _wait(slurm, shards, output) if wait else _submit(slurm, shards, output)
    devices = _devices(device, num_processes)
    settings = LoopSettings(
        batch_size=BATCH_SIZE.get(resolve_device(devices[0]).type, 16) if batch_size is None else batch_size,
        num_workers=_default_workers(devices) if num_workers is None else num_workers,
        texts=texts == "captions",
    )
    how: _How = {"precision": as_precision(precision), "runtime": as_runtime(runtime)}
    with ExitStack() as stack:
        local = _executor(encoder, devices, how, settings, stack)
        summary = embed_with(local, shards, Path(output), show_progress=True)
    return _report(summary, output)


def _devices(device: str, num_processes: int | None) -> list[str]:
    """The device of each embedding process; with `auto`, the GPUs in turn."""
    import torch

    num_gpus = torch.cuda.device_count() if device == "auto" else 0
    count = num_processes if num_processes is not None else max(1, num_gpus)
    if count < 1:
        raise InputError(f"num_processes is {num_processes}; give at least 1")
    return [f"cuda:{i % num_gpus}" if num_gpus else device for i in range(count)]


def _default_workers(devices: list[str]) -> int:
    from ...indexing.encoders.torch_encoder import resolve_device

    if resolve_device(devices[0]).type == "cpu":
        return 0
    return max(1, (os.cpu_count() or 1) // len(devices))


def _executor(encoders: list[str], devices: list[str], how: _How, settings: LoopSettings, stack: ExitStack) -> Executor:
    from ...indexing.embed.executors import InProcess, LocalProcesses
    from ...indexing.encoders import load_encoder

    if len(devices) > 1:
        return stack.enter_context(LocalProcesses(encoders, settings, devices=devices, **how))
    return InProcess([load_encoder(name, device=devices[0], **how) for name in encoders], settings)


def _wait(executor: Slurm, shards: list[Shard], output: str) -> int:
    from ...indexing.embed.job import embed_with

    return _report(embed_with(executor, shards, Path(output), show_progress=True), output)


def _submit(executor: Slurm, shards: list[Shard], output: str) -> int:
    from ...indexing.embed.slurm import submit

    submit(executor, shards, Path(output))
    return 0


def _report(summary: Summary, output: str) -> int:
    if summary.num_failed:
        log.info("the failures with their reasons: diantu status --gallery %s --failures", output)
    for part in summary.quarantined:
        log.error("shard left out: %s", part.quarantined)
    for reason in summary.lacking:
        log.error("part not completed: %s", reason)
    log.info("%s", summary)
    return 1 if summary.quarantined or summary.lacking else 0

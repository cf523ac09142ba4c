"""`diantu embed`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...datasets.errors import InputError

if TYPE_CHECKING:
    from ...datasets.types import Shard
    from ...indexing.embed.executors import Executor, Slurm
    from ...indexing.embed.job import Summary
    from ...indexing.encoders import Precision, Runtime

log = logging.getLogger(__name__)

_TEXTS = ("none", "captions")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What an executor is made from; see `run`."""

    encoders: list[str]
    texts: bool
    batch_size: int | None
    num_workers: int | None
    num_processes: int | None
    device: str
    precision: Precision
    runtime: Runtime
    address: str | None
    slurm_template: Path | None


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
    address: str | None = None,
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
        num_processes: number of processes that embed, each with its own model; by default one per GPU. With ray, at
            most so many; by default one per GPU of the cluster, or per 4 CPU cores if it has no GPU. With slurm, the
            number of tasks; by default 8.
        device: where the encoder runs: auto, cpu, cuda or, with local, cuda:<number>.
        precision: auto (bf16 where the hardware supports it, else fp32), fp32 or bf16.
        runtime: what computes the vectors of images: torch, compiled, onnxruntime, openvino, tensorrt, or auto: torch,
            unless diantu bench-encoder has measured that another one is faster here.
        executor: local (processes of this machine), ray (actors of a Ray cluster) or slurm (submits array jobs; diantu
            status follows them).
        address: of a running Ray cluster: auto, host:port or ray://host:port; by default Ray is started on this
            machine.
        slurm_template: the batch script with your partition, GPUs and time limit: a changed copy of what
            python -m diantu.scripts.slurm_template prints.
        wait: with slurm, wait for the jobs, and cancel them on Ctrl-C.
    """
    from ...datasets import find_shards
    from ...indexing.embed.executors import Slurm
    from ...indexing.embed.job import embed_with
    from ...indexing.encoders import as_runtime
    from ...indexing.encoders.spec import as_precision

    if texts not in _TEXTS:
        raise InputError(f"texts {texts!r} is not known; give one of: {', '.join(_TEXTS)}")
    if executor not in _EXECUTORS:
        raise InputError(f"executor {executor!r} is not known; give one of: {', '.join(_EXECUTORS)}")
    if num_processes is not None and num_processes < 1:
        raise InputError(f"num_processes is {num_processes}; give at least 1")
    if executor != "ray" and address is not None:
        raise InputError(f"address {address!r} is that of a Ray cluster; leave it out, or give --executor ray")
    if executor != "slurm" and (wait or slurm_template is not None):
        raise InputError("--wait and --slurm-template belong to --executor slurm; give that, or leave them out")
    options = _Options(
        encoders=encoder,
        texts=texts == "captions",
        batch_size=batch_size,
        num_workers=num_workers,
        num_processes=num_processes,
        device=device,
        precision=as_precision(precision),
        runtime=as_runtime(runtime),
        address=address,
        slurm_template=None if slurm_template is None else Path(slurm_template),
    )
    shards = find_shards(source, captions=captions)
    with ExitStack() as stack:
        made = _EXECUTORS[executor](options, stack)
        if isinstance(made, Slurm) and not wait:
            return _submit(made, shards, output)
        summary = embed_with(made, shards, Path(output), show_progress=True)
    return _report(summary, output)


def _local(options: _Options, stack: ExitStack) -> Executor:
    """This process, or several of this machine."""
    from ...indexing.embed.executors import InProcess, LocalProcesses
    from ...indexing.embed.loop import BATCH_SIZE, LoopSettings
    from ...indexing.encoders import load_encoder
    from ...indexing.encoders.torch_encoder import resolve_device

    devices = _devices(options.device, options.num_processes)
    kind = resolve_device(devices[0]).type
    num_workers = 0 if kind == "cpu" else max(1, (os.cpu_count() or 1) // len(devices))
    settings = LoopSettings(
        batch_size=BATCH_SIZE.get(kind, 16) if options.batch_size is None else options.batch_size,
        num_workers=num_workers if options.num_workers is None else options.num_workers,
        texts=options.texts,
    )
    precision, runtime = options.precision, options.runtime
    if len(devices) > 1:
        several = LocalProcesses(options.encoders, settings, devices=devices, precision=precision, runtime=runtime)
        return stack.enter_context(several)
    encoders = [
        load_encoder(name, device=devices[0], precision=precision, runtime=runtime) for name in options.encoders
    ]
    return InProcess(encoders, settings)


def _ray(options: _Options, stack: ExitStack) -> Executor:
    """Actors of a Ray cluster."""
    from ...indexing.embed.executors.ray_cluster import RayCluster

    executor = RayCluster(
        options.encoders,
        texts=options.texts,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        device=options.device,
        precision=options.precision,
        runtime=options.runtime,
        address=options.address,
        num_processes=options.num_processes,
    )
    return stack.enter_context(executor)


def _slurm(options: _Options, stack: ExitStack) -> Executor:
    """Array jobs of SLURM."""
    from ...indexing.embed.executors import Slurm

    del stack
    return Slurm(
        options.encoders,
        texts=options.texts,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        device=options.device,
        precision=options.precision,
        runtime=options.runtime,
        num_tasks=options.num_processes,
        template=options.slurm_template,
    )


_EXECUTORS: dict[str, Callable[[_Options, ExitStack], Executor]] = {"local": _local, "ray": _ray, "slurm": _slurm}


def _devices(device: str, num_processes: int | None) -> list[str]:
    """The device of each embedding process; with `auto`, the GPUs in turn."""
    import torch

    num_gpus = torch.cuda.device_count() if device == "auto" else 0
    count = num_processes if num_processes is not None else max(1, num_gpus)
    return [f"cuda:{i % num_gpus}" if num_gpus else device for i in range(count)]


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

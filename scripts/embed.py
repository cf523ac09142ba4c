"""`diantu embed`."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ..datasets import find_shards

log = logging.getLogger(__name__)


def run(
    source: list[str],
    output: str,
    encoder: str = "conse",
    captions: str = "auto",
    batch_size: int | None = None,
    num_workers: int | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> int:
    """Turns shards of images into a gallery; run it again to go on where it stopped, or to add shards.

    Args:
        source: tars ('shards/{00000..00099}.tar', 'shards/*.tar'), or folders of tars or of pictures.
        output: the gallery's folder.
        encoder: conse, cn_clip:<model or .pt>, hf:<repository or folder>.
        captions: for folders of pictures, the CSV or JSONL table of captions; auto finds it in the folder, none uses
            none.
        batch_size: pictures that go through the model at a time; by default 16 on a CPU, 256 on a GPU.
        num_workers: processes that read and decode; by default half of the processors.
        device: auto, cpu, cuda or cuda:<number>.
        precision: auto (bf16 where the hardware multiplies it), fp32 or bf16.
    """
    from ..indexing.embed import BATCH_SIZE, embed
    from ..indexing.encoders import load_encoder
    from ..indexing.encoders.torch_encoder import resolve_device

    shards = find_shards(source, captions=captions)
    summary = embed(
        shards,
        Path(output),
        load_encoder(encoder, device=device, precision=precision),
        batch_size=BATCH_SIZE.get(resolve_device(device).type, 16) if batch_size is None else batch_size,
        num_workers=_default_workers() if num_workers is None else num_workers,
        show_progress=True,
    )
    if summary.num_failed:
        log.info("which failed and why: diantu status --gallery %s --failures", output)
    log.info("%s", summary)
    for part in summary.quarantined:
        log.error("left out as a whole: %s", part.quarantined)
    return 1 if summary.quarantined else 0


def _default_workers() -> int:
    return (os.cpu_count() or 1) // 2

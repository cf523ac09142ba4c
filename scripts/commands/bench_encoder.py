"""`diantu bench-encoder`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .common import print_json, print_lines

if TYPE_CHECKING:
    from ...indexing.encoders.runtimes.table import Row, Table

log = logging.getLogger(__name__)


def run(
    encoder: str = "conse",
    device: str = "auto",
    batch_size: int | None = None,
    seconds: float = 10.0,
    json_: bool = False,
) -> int:
    """Measures how fast the installed runtimes encode images here; --runtime auto takes what is faster than torch.

    Args:
        encoder: conse, cn_clip:<model or .pt file>, hf:<repository or folder>, or
            open_clip:<architecture>/<weights>.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
        batch_size: images per batch of the model; by default 16 on a CPU, 256 on a GPU.
        seconds: how long to measure, after the models are loaded and exported.
        json_: print the table as JSON on stdout.
    """
    from ...indexing.embed.job import BATCH_SIZE
    from ...indexing.encoders import load_encoder
    from ...indexing.encoders.runtimes.measuring import measure
    from ...indexing.encoders.runtimes.table import best, pays_from
    from ...indexing.encoders.torch_encoder import resolve_device

    where = resolve_device(device)
    table = measure(
        lambda on, precision: load_encoder(encoder, device=on, precision=precision, runtime="torch"),
        device=where,
        batch_size=BATCH_SIZE.get(where.type, 16) if batch_size is None else batch_size,
        seconds=seconds,
    )
    log.info("the table is kept in %s", table.save(where))
    of_torch = [row for row in table.rows if row.runtime == "torch"][-1]  # in the precision of `auto`
    taken = best(table.rows, "auto", of_torch.precision) or of_torch
    if json_:
        print_json({**table.to_json(), "auto": {"runtime": taken.runtime, "precision": taken.precision}})
    else:
        pays = {row: pays_from(row, of_torch) for row in table.rows if row.start_seconds is not None}
        print_lines(_lines(table, taken, of_torch, pays))
    return 0


def _lines(table: Table, taken: Row, of_torch: Row, pays: Mapping[Row, int | None]) -> list[str]:
    facts = table.conditions
    on = facts.get("gpu", facts["cpu"])
    header = f"{'runtime':<12} {'precision':<9} {'images/s':>9} {'ms/batch':>9} {'of torch':>9} {'cosine':>9}"
    return [
        f"{table.encoder} on {on}, threads: {facts['threads']}, batches of {table.batch_size}",
        header,
        *(
            f"{row.runtime:<12} {row.precision:<9} {row.images_per_s:>9.1f} {row.ms_per_batch:>9.1f} "
            f"{row.images_per_s / of_torch.images_per_s:>8.2f}x {row.cosine:>9.6f}"
            for row in table.rows
        ),
        f"--runtime auto takes {taken.runtime} in {taken.precision}",
        *(
            f"--runtime {row.runtime} takes {row.start_seconds:.0f} s to start"
            + (f", so it pays from {count} images on" if count else " and is not faster than torch")
            for row, count in pays.items()
        ),
        *(f"not measured: {reason}" for reason in table.left_out),
    ]

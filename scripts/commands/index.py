"""`diantu index`."""

from __future__ import annotations

import logging
from pathlib import Path

from .common import load_gallery_encoder, log_index

log = logging.getLogger(__name__)


def run(
    gallery: str,
    memory_budget: str | None = None,
    target_recall: float | None = None,
    factory: str | None = None,
    tune_queries: str | None = None,
    rebuild: bool = False,
    no_row_store: bool | None = None,
    dry_run: bool = False,
    seed: int | None = None,
    encoder: str | None = None,
    device: str = "auto",
) -> int:
    """Builds a gallery's index, or adds new rows to it; then tunes it with real queries and measures it.

    Args:
        gallery: the gallery's folder.
        memory_budget: how much memory the index may take in a process that searches, for example 500MB or 2GB; by
            default no limit.
        target_recall: the share of the exact results that a search must find; by default 0.95.
        factory: a FAISS factory string, if you want to choose the type of index yourself; SVSVamana64,FP16 builds a
            graph of SVS, which needs the extra svs.
        tune_queries: queries that users send: a text file with one query per line, JSONL with a field "text", or
            vectors as .npy. By default captions of the gallery; images, if it has no captions.
        rebuild: train a new index, even if the new rows could be added to the existing one.
        no_row_store: do not lay the metadata out for fast answers, which takes about four times the space of the parts'
            metadata; `--no-row-store false` does it again. By default as before.
        dry_run: print the plan with its memory, disk space and time; build nothing.
        seed: the seed of all random samples; by default the seed of the last build, or 0.
        encoder: the gallery's encoder, if its weights have moved since the gallery was made.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
    """
    from ...indexing.build.job import build_index, plan_index
    from ...indexing.build.plan import parse_bytes, readable
    from ...indexing.build.request import IndexRequest
    from ...indexing.store.manifest import read_manifest
    from ...indexing.store.rows.writing import estimated_bytes

    root = Path(gallery)
    request = IndexRequest(
        memory_budget=parse_bytes(memory_budget) if memory_budget else None,
        target_recall=target_recall,
        factory=factory,
        tune_queries=Path(tune_queries) if tune_queries else None,
        rebuild=rebuild,
        row_store=None if no_row_store is None else not no_row_store,
        seed=seed,
    )
    log.info("%s", plan_index(root, request))
    if dry_run:
        num_bytes = estimated_bytes(root, read_manifest(root))
        log.info("the row store takes about %s on disk, unless --no-row-store is given", readable(num_bytes))
        return 0
    loaded = load_gallery_encoder(root, encoder, device)
    log_index(build_index(root, loaded, request=request, show_progress=True))
    return 0

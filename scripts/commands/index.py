"""`diantu index`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from .common import load_gallery_encoder, print_report

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)


def run(
    gallery: str,
    memory_budget: str | None = None,
    target_recall: float | None = None,
    factory: str | None = None,
    tune_queries: str | None = None,
    rebuild: bool = False,
    dry_run: bool = False,
    seed: int | None = None,
    encoder: str | None = None,
    device: str = "auto",
) -> int:
    """Builds a gallery's index, or folds rows added since into it; tunes it for real queries and measures it.

    Args:
        gallery: the gallery's folder.
        memory_budget: what a process that searches may spend on the index, as 500MB or 2GB; by default no limit.
        target_recall: share of the exact results that a search is to find, by default 0.95.
        factory: FAISS's factory string, to choose the index oneself.
        tune_queries: queries that users send: one text a line, JSONL with a field text, or vectors as .npy; by default
            captions of the gallery, where it has any, else its pictures.
        rebuild: train anew, even if the new rows could be folded in.
        dry_run: say what would be built, with its memory, disk and time, and stop.
        seed: of the samples that are drawn; by default that of the last time, or 0.
        encoder: the gallery's encoder, if its weights lie elsewhere than when the gallery was made.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
    """
    from ...indexing.build.job import build_index, plan_index
    from ...indexing.build.plan import parse_bytes
    from ...indexing.build.request import IndexRequest

    root = Path(gallery)
    request = IndexRequest(
        memory_budget=parse_bytes(memory_budget) if memory_budget else None,
        target_recall=target_recall,
        factory=factory,
        tune_queries=Path(tune_queries) if tune_queries else None,
        rebuild=rebuild,
        seed=seed,
    )
    log.info("%s", plan_index(root, request))
    if dry_run:
        return 0
    report = build_index(root, load_gallery_encoder(root, encoder, device), request=request, show_progress=True)
    print_report(report)
    return 0

"""`diantu index`."""

from __future__ import annotations

import logging
from pathlib import Path

from ..datasets import InputError

log = logging.getLogger(__name__)


def run(gallery: str, encoder: str | None = None, device: str = "auto") -> int:
    """Builds a gallery's index over all its rows, and measures what it delivers for captions and for pictures.

    Args:
        gallery: the gallery's folder.
        encoder: the gallery's encoder, if its weights lie elsewhere than when the gallery was made.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
    """
    from ..indexing.build import build_index
    from ..indexing.encoders import load_encoder
    from ..indexing.manifest import read_manifest, refuse_other

    root = Path(gallery)
    spec = read_manifest(root).spec
    try:
        loaded = load_encoder(encoder or spec.name, device=device)
        refuse_other(spec, loaded.spec, root)
    except InputError as error:
        if encoder:
            raise
        log.warning("the index is measured with pictures alone, not with captions: %s", error)
        loaded = None
    report = build_index(root, loaded, show_progress=True)
    log.info(
        "%s over %d rows, %.1f MB, built in %.1f s",
        report["spec"]["factory"],
        report["num_rows"],
        report["bytes"] / 1e6,
        report["build_seconds"],
    )
    for kind, found in report["delivers"].items():
        recalls = ", ".join(f"{name} {value:.3f}" for name, value in found.items() if name.startswith("recall"))
        latency = found["latency_ms"]["one_thread"]
        log.info(
            "%s queries: %s; p50 %.2f ms, p99 %.2f ms on one thread", kind, recalls, latency["p50"], latency["p99"]
        )
    return 0

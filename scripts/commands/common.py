"""What several commands share."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...datasets import InputError

if TYPE_CHECKING:
    from ...indexing.encoders import ImageEncoder

log = logging.getLogger(__name__)


def load_gallery_encoder(root: Path, name: str | None, device: str) -> ImageEncoder | None:
    """The encoder that turns captions into queries; None, with a warning, where it cannot be loaded."""
    from ...indexing.encoders import load_encoder
    from ...indexing.store.manifest import read_manifest, refuse_other

    spec = read_manifest(root).spec
    try:
        loaded = load_encoder(name or spec.name, device=device)
        refuse_other(spec, loaded.spec, root)
        return loaded
    except InputError as error:
        if name:
            raise
        log.warning("without the encoder captions may not count as queries: %s", error)
        return None


def print_report(report: dict[str, Any]) -> None:
    """Says what was built and what it delivers."""
    log.info(
        "%s over %d rows, %.1f MB (%.0f bytes a row), built in %.1f s",
        report["spec"]["factory"],
        report["num_rows"],
        report["bytes"] / 1e6,
        report["bytes_per_row"],
        report["build_seconds"],
    )
    for kind, found in report["delivers"].items():
        recalls = ", ".join(f"{name} {value:.3f}" for name, value in found.items() if name.startswith("recall"))
        latency = found["latency_ms"]["one_thread"]
        log.info(
            "%s queries (%s): %s; p50 %.2f ms, p99 %.2f ms on one thread",
            kind,
            found["source"],
            recalls,
            latency["p50"],
            latency["p99"],
        )

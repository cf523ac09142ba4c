"""What several commands share: loading the encoder of a gallery, and printing reports."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...datasets import display
from ...datasets.errors import InputError

if TYPE_CHECKING:
    from ...indexing.encoders import ImageEncoder
    from ...indexing.index.report import IndexReport

log = logging.getLogger(__name__)


def load_gallery_encoder(root: Path, name: str | None, device: str) -> ImageEncoder | None:
    """Loads the encoder that turns captions into queries.

    Args:
        root: the gallery's folder.
        name: the encoder, if it is not where the gallery says.
        device: where it runs: auto, cpu, cuda or cuda:<number>.

    Returns:
        The encoder; None, after a warning, if the gallery's own cannot be loaded.

    Raises:
        InputError: if the named encoder cannot be loaded, or is not the one that made the gallery.
    """
    from ...indexing.encoders import load_encoder
    from ...indexing.store.manifest import own_encoder, read_manifest

    spec = read_manifest(root).spec
    try:
        loaded = load_encoder(name or spec.name, device=device, named_by=None if name else root)
        return own_encoder(spec, loaded, root)
    except InputError as error:
        if name:
            raise
        log.warning("captions cannot be used as queries, because the encoder cannot be loaded: %s", error)
        return None


def has_duplicates(root: Path) -> bool:
    """Whether `diantu dedup` has run on a gallery."""
    from ...indexing.store.duplicates import NAME

    return (root / NAME).exists()


def print_json(report: Mapping[str, Any]) -> None:
    """Prints a report as one line of JSON on stdout."""
    print(display.to_json(report))


def print_lines(lines: Iterable[str]) -> None:
    """Prints lines for people on stdout. Keys, captions and other texts in them cannot control the terminal."""
    for line in lines:
        print(display.one_line(line))


def log_index(report: IndexReport) -> None:
    """Logs what an index consists of, and its recall and latency."""
    log.info(
        "%s over %d rows, %.1f MB (%.0f bytes per row), built in %.1f s",
        report.spec.factory,
        report.num_rows,
        report.num_bytes / 1e6,
        report.bytes_per_row,
        report.build_seconds,
    )
    for kind, found in report.delivers.items():
        recalls = ", ".join(f"recall@{k} {value:.3f}" for k, value in found.recall.items())
        latency = found.latency_ms["one_thread"]
        log.info(
            "%s queries (%s): %s; p50 %.2f ms, p99 %.2f ms on one thread",
            kind,
            found.source,
            recalls,
            latency["p50"],
            latency["p99"],
        )

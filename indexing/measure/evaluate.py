"""How good a gallery's answers are: the index against an exact oracle, captions against their own pictures.

Shapes: Q queries, K results.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.errors import InputError
from ..encoders import ImageEncoder, TextEncoder
from ..index.effort import Effort
from ..index.opened import GalleryIndex
from ..store.filters import matching_rows
from ..store.manifest import Manifest, read_manifest, refuse_other
from .oracle import ask_oracle, delivered
from .queries import num_queries, read_queries, sample_captions, sample_queries

# Fewer queries where the exact oracle would compare too many pairs.
_NUM_QUERIES = 1000
_RANKS = (1, 5, 10)


def evaluate(
    root: Path,
    encoder: ImageEncoder | None = None,
    *,
    queries: Path | None = None,
    effort: Effort = "balanced",
    curve: bool = False,
    seed: int = 1,
) -> dict[str, Any]:
    """Measures a gallery as users meet it: through its index, and the rows added since.

    Args:
        root: the gallery's folder.
        encoder: the gallery's encoder, to turn captions into queries; None measures with vectors of captions that the
            gallery has, or with pictures alone.
        queries: labelled queries, see `labelled`.
        effort: that of the searches.
        curve: measure every recall that the index was tuned for, too.
        seed: of the samples that are drawn where there are more than 1000 captions or rows; another one than that of
            `diantu index`, so that an index is not measured by the queries that it was tuned for.

    Returns:
        `delivers` (the index against exact search, see `measure.delivered`), `curve` (the same for other efforts),
        `retrieval` (captions against their own pictures, for every column of captions) and `labelled`, as JSON values.

    Raises:
        InputError: if the gallery has no rows, or the encoder is another one or has no text side for the queries.
    """
    manifest = read_manifest(root)
    index = GalleryIndex.open(root, manifest)
    if not index.num_rows:
        raise InputError(f"the gallery {root} has no rows; embed some pictures first")
    if encoder:
        refuse_other(manifest.spec, encoder.spec, root)
    count = num_queries(_NUM_QUERIES, index.num_rows)
    sample = sample_queries(root, manifest, encoder, index.deleted, count=count, seed=seed)
    oracles = ask_oracle(index.vectors, index.deleted, sample)
    asked = list(zip(sample, oracles, strict=True))
    efforts = _efforts(index) if curve else []
    report: dict[str, Any] = {
        "gallery": str(root),
        "rows": index.num_rows,
        "encoder": manifest.spec.name,
        "index": index.report["spec"]["factory"] if index.report else None,
        "bytes_per_row": round(index.report["bytes"] / max(index.num_indexed, 1), 1) if index.report else 0.0,
        "seed": seed,
        "delivers": {some.kind: delivered(index, some, oracle, effort=effort) for some, oracle in asked},
        "curve": {some.kind: [delivered(index, some, oracle, effort=e) for e in efforts] for some, oracle in asked},
        "retrieval": {},
        "labelled": [],
    }
    if isinstance(encoder, TextEncoder):
        columns = sample_captions(root, manifest, index.deleted, np.random.default_rng(seed))
        report["retrieval"] = {
            name: retrieval(index, encoder, texts, effort=effort, seed=seed) for name, texts in columns.items()
        }
        if queries:
            report["labelled"] = labelled(root, manifest, index, encoder, queries, effort=effort)
    elif queries:
        raise InputError(f"{queries} needs an encoder with a text side; {manifest.spec.name} is not there or has none")
    return report


def retrieval(
    index: GalleryIndex,
    encoder: TextEncoder,
    captions: Mapping[int, str],
    *,
    effort: Effort = "balanced",
    seed: int = 1,
) -> dict[str, Any]:
    """R@1/5/10: how often a caption finds its own picture among the first results. At most 1000 captions, drawn."""
    rows = np.random.default_rng(seed).permutation(np.fromiter(captions, np.int64))[:_NUM_QUERIES]
    texts = encoder.encode_texts([captions[int(row)] for row in rows])
    _, found_QK = index.search(texts, max(_RANKS), effort=effort)
    hits_QK = found_QK == rows[:, None]
    return {"queries": len(rows), **{f"R@{k}": round(float(hits_QK[:, :k].any(axis=1).mean()), 4) for k in _RANKS}}


def labelled(
    root: Path,
    manifest: Manifest,
    index: GalleryIndex,
    encoder: TextEncoder,
    queries: Path,
    *,
    effort: Effort = "balanced",
) -> list[dict[str, Any]]:
    """P@10 of labelled text queries: the share of the first ten results that are relevant.

    Args:
        root: the gallery's folder.
        manifest: its manifest.
        index: its index.
        encoder: its encoder.
        queries: JSONL, each line with `text` and `where`, a SQL condition over the metadata that relevant rows meet.
        effort: that of the searches.

    Raises:
        InputError: if the file or one of its conditions cannot be read.
    """
    lines = read_queries(queries, ("text", "where"))
    matching = matching_rows(root, manifest, [line["where"] for line in lines])
    relevant = [np.setdiff1d(rows, index.deleted, assume_unique=True) for rows in matching]
    _, found_QK = index.search(encoder.encode_texts([line["text"] for line in lines]), 10, effort=effort)
    return [
        {**line, "relevant": len(rows), "P@10": round(float(np.isin(found, rows).mean()), 4)}
        for line, rows, found in zip(lines, relevant, found_QK, strict=True)
    ]


def _efforts(index: GalleryIndex) -> list[float]:
    """The recalls that the index was tuned for."""
    tuned = (index.report or {}).get("tuning", {})
    return sorted({point["target"] for points in tuned.values() for point in points})

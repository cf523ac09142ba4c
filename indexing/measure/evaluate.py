"""How good a gallery's answers are: the index against an exact oracle, and captions against their own images.

Shapes: Q queries, K results.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.conditions import WHERE_SECONDS, Budget
from ...datasets.errors import InputError
from ..encoders import ImageEncoder, TextEncoder
from ..index.effort import Effort
from ..index.opened import GalleryIndex
from ..store.filters import matching_rows
from ..store.manifest import own_encoder
from ..store.snapshot import Snapshot
from .oracle import ask_oracle, measure
from .queries import num_queries, read_queries, sample_captions, sample_queries

# Fewer queries are drawn where the exact oracle would compare too many pairs.
_NUM_QUERIES = 1000
_RANKS = (1, 5, 10)


def evaluate(
    root: Path,
    encoder: ImageEncoder | None = None,
    *,
    queries: Path | None = None,
    where_timeout: float = WHERE_SECONDS,
    effort: Effort = "balanced",
    curve: bool = False,
    seed: int = 1,
) -> dict[str, Any]:
    """Measures a gallery as users search it: through its index, and exactly among the rows added since it was built.

    Args:
        root: the gallery's folder.
        encoder: the gallery's encoder, which turns captions into queries. None: measure with caption vectors that the
            gallery has, or with images alone.
        queries: labelled queries, see `labelled`.
        where_timeout: seconds that the condition of a labelled query may take for each million rows.
        effort: of the searches.
        curve: also measure every recall that the index was tuned for.
        seed: of the samples, which are drawn where there are more than 1000 captions or rows. It differs from the seed
            of `diantu index`, so that an index is not measured with the queries that it was tuned for.

    Returns:
        `delivers` (the index against exact search, see `Delivered`), `curve` (the same for other efforts), `retrieval`
        (captions against their own images, for every column of captions) and `labelled`, as JSON values.

    Raises:
        InputError: if the gallery has no rows, or the encoder is another one or has no text side for the queries.
    """
    Budget(where_timeout)  # refuses what is no time before hours of work
    snapshot = Snapshot.read(root)
    index = GalleryIndex.open(snapshot)
    if not index.num_rows:
        raise InputError(f"the gallery {root} has no rows; embed some images first")
    if encoder:
        encoder = own_encoder(snapshot.spec, encoder, root)
    count = num_queries(_NUM_QUERIES, index.num_rows)
    sample = sample_queries(snapshot, encoder, count=count, seed=seed)
    oracles = ask_oracle(snapshot, sample)
    asked = list(zip(sample, oracles, strict=True))
    efforts = _efforts(index) if curve else []
    report: dict[str, Any] = {
        "gallery": str(root),
        "rows": index.num_rows,
        "encoder": snapshot.spec.name,
        "index": index.report.spec.factory if index.report else None,
        "bytes_per_row": index.report.bytes_per_row if index.report else 0.0,
        "seed": seed,
        "delivers": {some.kind: measure(index, some, oracle, effort=effort).to_json() for some, oracle in asked},
        "curve": {
            some.kind: [measure(index, some, oracle, effort=e).to_json() for e in efforts] for some, oracle in asked
        },
        "retrieval": {},
        "labelled": [],
    }
    if isinstance(encoder, TextEncoder):
        columns = sample_captions(snapshot, np.random.default_rng(seed))
        report["retrieval"] = {
            name: retrieval(index, encoder, texts, effort=effort, seed=seed) for name, texts in columns.items()
        }
        if queries:
            report["labelled"] = labelled(index, encoder, queries, effort=effort, where_timeout=where_timeout)
    elif queries:
        raise InputError(
            f"{queries} needs an encoder with a text side; {snapshot.spec.name} could not be loaded or has none"
        )
    return report


def retrieval(
    index: GalleryIndex,
    encoder: TextEncoder,
    captions: Mapping[int, str],
    *,
    effort: Effort = "balanced",
    seed: int = 1,
) -> dict[str, Any]:
    """R@1/5/10: how often a caption finds its own image among the first results. At most 1000 captions, drawn."""
    rows = np.random.default_rng(seed).permutation(np.fromiter(captions, np.int64))[:_NUM_QUERIES]
    texts = encoder.encode_texts([captions[int(row)] for row in rows])
    _, found_QK = index.search(texts, max(_RANKS), effort=effort)
    hits_QK = found_QK == rows[:, None]
    return {"queries": len(rows), **{f"R@{k}": round(float(hits_QK[:, :k].any(axis=1).mean()), 4) for k in _RANKS}}


def labelled(
    index: GalleryIndex,
    encoder: TextEncoder,
    queries: Path,
    *,
    effort: Effort = "balanced",
    where_timeout: float = WHERE_SECONDS,
) -> list[dict[str, Any]]:
    """P@10 of labelled text queries: the share of the first ten results that are relevant.

    Args:
        index: the gallery's index.
        encoder: its encoder.
        queries: JSONL, each line with `text` and `where`, a SQL condition over the metadata that relevant rows meet.
        effort: of the searches.
        where_timeout: seconds that a condition may take for each million rows.

    Raises:
        InputError: if the file or one of its conditions cannot be read.
    """
    lines = read_queries(queries, ("text", "where"))
    matching = matching_rows(index.snapshot, [line["where"] for line in lines], where_timeout=where_timeout)
    relevant = [np.setdiff1d(rows, index.snapshot.deleted, assume_unique=True) for rows in matching]
    _, found_QK = index.search(encoder.encode_texts([line["text"] for line in lines]), 10, effort=effort)
    return [
        {**line, "relevant": len(rows), "P@10": round(float(np.isin(found, rows).mean()), 4)}
        for line, rows, found in zip(lines, relevant, found_QK, strict=True)
    ]


def _efforts(index: GalleryIndex) -> list[float]:
    """The recalls that the index was tuned for."""
    return sorted({point.target for points in index.efforts.tuned.values() for point in points})

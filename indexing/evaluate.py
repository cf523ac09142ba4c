"""How good a gallery's answers are: the index against an exact oracle, captions against their own pictures.

Shapes: Q queries, K results, N rows, D dimension.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.types import InputError
from .encoders import ImageEncoder, TextEncoder, load_encoder
from .filters import matching_rows
from .index import GalleryIndex, faiss_threads
from .manifest import Manifest, read_manifest, refuse_other
from .parts import metadata_names, read_metadata
from .vectors import Vectors, exact_search

_NUM_QUERIES = 1000
_NUM_TIMED = 200
_DEPTHS = (1, 10, 100)
_RANKS = (1, 5, 10)
# float32 inner products of the same two vectors differ by this much between two libraries
_TIE = 1e-5


def evaluate(
    root: Path, encoder: str | None = None, *, queries: Path | None = None, device: str = "auto", seed: int = 0
) -> dict[str, Any]:
    """Measures a gallery as users meet it: through its index, and the rows added since.

    Args:
        root: the gallery's folder.
        encoder: the name of the gallery's encoder, if it is not the one that the gallery has noted.
        queries: labelled queries, see `labelled`.
        device: where the encoder runs.
        seed: of the samples that are drawn where there are more than 1000 captions or rows.

    Returns:
        `delivers` (the index against exact search), `retrieval` (captions against their own pictures, for every column
        of captions) and `labelled`, as JSON values.

    Raises:
        InputError: if the gallery has no rows or its encoder cannot be loaded.
    """
    manifest = read_manifest(root)
    if not manifest.num_rows:
        raise InputError(f"the gallery {root} has no rows; embed some pictures first")
    loaded = load_encoder(encoder or manifest.spec.name, device=device)
    refuse_other(manifest.spec, loaded.spec, root)
    index = GalleryIndex(root, manifest)
    sample = query_sample(root, manifest, loaded, seed=seed)
    report: dict[str, Any] = {
        "gallery": str(root),
        "rows": manifest.num_rows,
        "encoder": manifest.spec.name,
        "index": index.report["spec"]["factory"] if index.report else None,
        "seed": seed,
        "delivers": {kind: delivered(index, emb_QD) for kind, emb_QD in sample.items()},
        "retrieval": {},
        "labelled": [],
    }
    if isinstance(loaded, TextEncoder):
        columns = caption_columns(root, manifest)
        report["retrieval"] = {name: retrieval(index, loaded, texts, seed=seed) for name, texts in columns.items()}
        if queries:
            report["labelled"] = labelled(root, manifest, index, loaded, queries)
    elif queries:
        raise InputError(f"the gallery's encoder {manifest.spec.name} has no text side, so {queries} cannot be asked")
    return report


def query_sample(
    root: Path, manifest: Manifest, encoder: ImageEncoder | None, *, seed: int = 0
) -> dict[str, np.ndarray]:
    """Queries to measure an index with: `{"text": emb_QD, "image": emb_QD}`, at most 1000 each, drawn with a seed.

    Texts are captions of the gallery, where it has any and the encoder has a text side; images are its own rows.
    """
    rng = np.random.default_rng(seed)
    queries = {}
    captions = next(iter(caption_columns(root, manifest).values()), {})
    if captions and isinstance(encoder, TextEncoder):
        rows = _draw(rng, np.fromiter(captions, np.int64))
        queries["text"] = encoder.encode_texts([captions[int(row)] for row in rows])
    if manifest.num_rows:
        queries["image"] = Vectors(root, manifest).rows(_draw(rng, np.arange(manifest.num_rows)))
    return queries


def caption_columns(root: Path, manifest: Manifest) -> dict[str, dict[int, str]]:
    """Every column of captions as row → text: each `caption_…`, and `caption` where it says something else."""
    names = {"caption"}
    for number, _ in manifest.parts:
        names |= {name for name in metadata_names(root, number) if name.startswith("caption_")}
    columns: dict[str, dict[int, str]] = {name: {} for name in sorted(names)}
    first = 0
    for number, count in manifest.parts:
        table = read_metadata(root, number, sorted(names))
        for name in table.column_names:
            texts = enumerate(table[name].to_pylist(), start=first)
            columns[name].update({row: text for row, text in texts if isinstance(text, str) and text.strip()})
        first += count
    main = columns.pop("caption")
    others = {name: texts for name, texts in columns.items() if texts}
    return others if main in others.values() or not main else {"caption": main, **others}


def delivered(index: GalleryIndex, queries_QD: np.ndarray) -> dict[str, Any]:
    """What an index delivers for some queries: recall@1/10/100 against the exact oracle, and milliseconds a query.

    Latency is that of one query at a time, with one thread and with all that FAISS takes.
    """
    depth = min(max(_DEPTHS), len(index.vectors))
    oracle_QK, _ = exact_search(index.vectors, queries_QD, depth)
    _, rows_QK = index.search(queries_QD, depth)
    found_QK = np.stack([index.vectors.rows(rows) @ query for rows, query in zip(rows_QK, queries_QD, strict=True)])
    recalls = {f"recall@{k}": recall(found_QK, oracle_QK, k) for k in _DEPTHS if k <= depth}
    with faiss_threads(1):
        one = _latency(index, queries_QD)
    return {**recalls, "latency_ms": {"one_thread": one, "all_threads": _latency(index, queries_QD)}}


def recall(found_QK: np.ndarray, oracle_QK: np.ndarray, k: int) -> float:
    """Mean share of the k results whose exact score is among the oracle's k best.

    Scores are compared, not rows, so that of two rows of equal score either one counts.
    """
    threshold_Q1 = oracle_QK[:, k - 1 : k] - _TIE
    return round(float((found_QK[:, :k] >= threshold_Q1).mean()), 4)


def calibrate(vectors: Vectors, queries_QD: np.ndarray, *, seed: int = 0) -> dict[str, float]:
    """Mean and standard deviation of the scores of random query–picture pairs: what a hit's zscore refers to."""
    rng = np.random.default_rng(seed)
    emb_ND = vectors.rows(_draw(rng, np.arange(len(vectors))))
    scores_QN = queries_QD @ emb_ND.T
    # A picture's score with itself, and a caption's with its own picture, are no random pairs, but one in N of them.
    return {"mean": round(float(scores_QN.mean()), 6), "std": round(float(scores_QN.std()), 6)}


def retrieval(
    index: GalleryIndex, encoder: TextEncoder, captions: Mapping[int, str], *, seed: int = 0
) -> dict[str, Any]:
    """R@1/5/10: how often a caption finds its own picture among the first results. At most 1000 captions, drawn."""
    rows = _draw(np.random.default_rng(seed), np.fromiter(captions, np.int64))
    _, found_QK = index.search(encoder.encode_texts([captions[int(row)] for row in rows]), max(_RANKS))
    hits_QK = found_QK == rows[:, None]
    return {"queries": len(rows), **{f"R@{k}": round(float(hits_QK[:, :k].any(axis=1).mean()), 4) for k in _RANKS}}


def labelled(
    root: Path, manifest: Manifest, index: GalleryIndex, encoder: TextEncoder, queries: Path
) -> list[dict[str, Any]]:
    """P@10 of labelled text queries: the share of the first ten results that are relevant.

    Args:
        root: the gallery's folder.
        manifest: its manifest.
        index: its index.
        encoder: its encoder.
        queries: JSONL, each line with `text` and `where`, a SQL condition over the metadata that relevant rows meet.

    Raises:
        InputError: if the file or one of its conditions cannot be read.
    """
    lines = _read_queries(queries)
    relevant = matching_rows(root, manifest, [line["where"] for line in lines])
    _, found_QK = index.search(encoder.encode_texts([line["text"] for line in lines]), 10)
    return [
        {**line, "relevant": len(rows), "P@10": round(float(np.isin(found, rows).mean()), 4)}
        for line, rows, found in zip(lines, relevant, found_QK, strict=True)
    ]


def _draw(rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
    """At most `_NUM_QUERIES` of the rows, ascending."""
    return np.sort(rng.choice(rows, min(len(rows), _NUM_QUERIES), replace=False))


def _latency(index: GalleryIndex, queries_QD: np.ndarray) -> dict[str, float]:
    milliseconds = []
    for query_D in queries_QD[:_NUM_TIMED]:
        started = time.perf_counter()
        index.search(query_D[None], 10)
        milliseconds.append(1000 * (time.perf_counter() - started))
    return {f"p{p}": round(float(np.percentile(milliseconds, p)), 3) for p in (50, 99)}


def _read_queries(path: Path) -> list[dict[str, str]]:
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        queries = [{"text": str(line["text"]), "where": str(line["where"])} for line in lines]
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f'the queries {path} cannot be read ({reason}); each line: {{"text": …, "where": …}}'
        ) from error
    if not queries:
        raise InputError(f'the queries {path} have no lines; each line: {{"text": …, "where": …}}')
    return queries

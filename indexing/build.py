"""Vectors → an index on disk, with a report of what it delivers. Exact for now: FAISS's flat inner product."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
from tqdm import tqdm

from .encoders.spec import ImageEncoder
from .evaluate import calibrate, delivered, query_sample
from .files import exclusive, replacing, write_json
from .index import GalleryIndex, index_folder
from .manifest import Manifest, read_manifest
from .vectors import Vectors

log = logging.getLogger(__name__)

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSpec:
    """What an index is made of: FAISS's factory string, rows to train on, candidates to rerank, seed of the samples."""

    factory: str
    metric: str = "inner_product"
    train_rows: int = 0
    rerank_depth: int = 0
    seed: int = 0


EXACT = IndexSpec(factory="Flat")


def build_index(
    root: Path, encoder: ImageEncoder | None, *, spec: IndexSpec = EXACT, show_progress: bool = False
) -> dict[str, Any]:
    """Builds the index of a gallery's main space over all its rows, and measures it.

    Args:
        root: the gallery's folder.
        encoder: the gallery's encoder, to turn captions into queries for the measurement; None measures with
            pictures alone.
        spec: what to build.
        show_progress: a progress bar on stderr.

    Returns:
        What was written to `index.json`.

    Raises:
        InputError: if there is no gallery, or a job is writing to it.
    """
    with exclusive(root):
        manifest = read_manifest(root)
        folder = index_folder(root, manifest)
        folder.mkdir(parents=True, exist_ok=True)
        # Without its report an index does not count, so a kill between the two files leaves none, never a wrong one.
        (folder / "index.json").unlink(missing_ok=True)
        started = time.perf_counter()
        index = _fill(Vectors(root, manifest), spec, show_progress)
        with replacing(folder / "index.faiss") as temporary:
            faiss.write_index(index, str(temporary))
        report = {
            "version": VERSION,
            "space": manifest.spec.slug,
            "encoder_fingerprint": manifest.spec.fingerprint,
            "num_rows": manifest.num_rows,
            "spec": asdict(spec),
            "bytes": (folder / "index.faiss").stat().st_size,
            "build_seconds": round(time.perf_counter() - started, 3),
        }
        write_json(folder / "index.json", report)
        report |= _measure(root, manifest, encoder, spec.seed)
        write_json(folder / "index.json", report)
        return report


def _fill(vectors: Vectors, spec: IndexSpec, show_progress: bool) -> faiss.Index:
    index = faiss.index_factory(vectors.dim, spec.factory, faiss.METRIC_INNER_PRODUCT)
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT, f"{spec.factory} silently became another metric"
    with tqdm(total=len(vectors), unit=" rows", desc="adding", disable=not show_progress, dynamic_ncols=True) as bar:
        for _, xb in vectors.blocks():
            index.add(xb)
            bar.update(len(xb))
    return index


def _measure(root: Path, manifest: Manifest, encoder: ImageEncoder | None, seed: int) -> dict[str, Any]:
    index = GalleryIndex(root, manifest)
    queries = query_sample(root, manifest, encoder, seed=seed)
    return {
        "delivers": {kind: delivered(index, emb_QD) for kind, emb_QD in queries.items()},
        "calibration": {kind: calibrate(index.vectors, emb_QD, seed=seed) for kind, emb_QD in queries.items()},
        "queries": {"seed": seed, **{kind: len(emb_QD) for kind, emb_QD in queries.items()}},
    }

"""Vectors → an index on disk that says what it delivers: plan, train, add, tune, measure, and only then replace.

FAISS's words (`xb, nlist, …`) stay inside this file, `train.py` and `candidates.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from tqdm import tqdm

from ...datasets.errors import InputError
from ...datasets.files import exclusive, replacing, write_json
from ..encoders.spec import ImageEncoder
from ..index.calibration import calibrate
from ..index.candidates import Candidates
from ..index.opened import GalleryIndex
from ..index.stored import StoredIndex, index_folder
from ..measure.oracle import Oracle, ask_oracle, delivered
from ..measure.queries import Queries, num_queries, sample_queries, sample_rows
from ..store.layout import JOB_LOCK, remove_temporary_files
from ..store.manifest import Manifest, read_manifest
from ..store.tombstones import read_deleted
from ..store.vectors import Vectors
from .plan import Plan, code_bytes
from .request import VERSION, IndexRequest, Intent, has_its_index, intend, read_previous, request_json
from .train import residual, trained
from .tune import TARGETS, tune

log = logging.getLogger(__name__)

# New rows join the lists that were trained on older ones as long as they fit there: the mean squared distance of all
# rows to their lists' centres may grow by this share. Beyond, recall at the same breadth sinks measurably.
MAX_DRIFT = 0.05
_DRIFT_ROWS, _DRIFT_SEED = 20_000, 1_000_003
_NUM_QUERIES = 2000  # of each kind, one half to tune and one to measure
_CALIBRATION_ROWS = 1000


def plan_index(root: Path, request: IndexRequest) -> Plan:
    """What `build_index` would do now; `Plan.reason` says whether new rows are only folded in.

    Raises:
        InputError: if there is no gallery or nothing fits the request.
    """
    return _intend(root, read_manifest(root), read_deleted(root), request).plan


def build_index(
    root: Path, encoder: ImageEncoder | None, *, request: IndexRequest | None = None, show_progress: bool = False
) -> dict[str, Any]:
    """Brings the index of a gallery's main space up to date, tunes it for real queries and measures it.

    Rows added since the last build are folded in without training, unless they have drifted away from what the index
    was trained on (`MAX_DRIFT`), the gallery has outgrown it (`MAX_GROWTH`), or something else is asked for.
    The index that is there answers until the new one takes its place.

    Args:
        root: the gallery's folder.
        encoder: the gallery's encoder, to turn captions into queries; None tunes and measures with vectors of captions
            that the gallery has, or with pictures alone.
        request: what to build.
        show_progress: progress bars on stderr.

    Returns:
        What was written to `index.json`.

    Raises:
        InputError: if there is no gallery, a job is writing to it, or nothing fits the request.
    """
    with exclusive(root, JOB_LOCK):
        manifest, deleted = read_manifest(root), read_deleted(root)
        intent = _intend(root, manifest, deleted, request or IndexRequest())
        request = intent.request
        # Before the work, which may take hours: a file of queries may not be what it should.
        kinds = sample_queries(
            root,
            manifest,
            encoder,
            deleted,
            count=num_queries(_NUM_QUERIES, manifest.num_rows),
            seed=request.seed or 0,
            given=request.tune_queries,
        )
        folder = index_folder(root, manifest)
        folder.mkdir(parents=True, exist_ok=True)
        remove_temporary_files(folder)
        started = time.perf_counter()
        vectors = Vectors(root, manifest)
        stored = StoredIndex.open(folder) if intent.previous else None
        index, facts = _index(stored, vectors, deleted, intent, show_progress)
        facts["build_seconds"] = round(time.perf_counter() - started, 3)
        with replacing(folder / "index.faiss") as temporary:
            faiss.write_index(index, str(temporary))
            facts["bytes"] = temporary.stat().st_size
            report = _report(manifest, vectors, deleted, index, facts, kinds, request, show_progress)
        write_json(folder / "index.json", report)
        return report


def carry_index(root: Path, output: Path) -> bool:
    """Gives a compacted gallery what the old one's index has learned, without rows; `build_index` folds them all in.

    Returns:
        Whether there was one.

    Raises:
        InputError: if a job is writing to the new gallery.
    """
    manifest = read_manifest(root)
    report = read_previous(root, manifest)
    if report is None or not has_its_index(root, manifest, report):
        return False
    with exclusive(output, JOB_LOCK):
        folder = index_folder(output, manifest)
        index = StoredIndex.open(index_folder(root, manifest)).load()
        index.reset()
        with replacing(folder / "index.faiss") as temporary:
            faiss.write_index(index, str(temporary))
            size = temporary.stat().st_size
        write_json(folder / "index.json", {**report, "num_rows": 0, "bytes": size, "delivers": {}})
    return True


def _intend(root: Path, manifest: Manifest, deleted: np.ndarray, request: IndexRequest) -> Intent:
    num_deleted = int(np.searchsorted(deleted, manifest.num_rows))
    return intend(root, manifest, request, num_deleted=num_deleted, num_threads=faiss.omp_get_max_threads())


def _index(
    stored: StoredIndex | None, vectors: Vectors, deleted: np.ndarray, intent: Intent, show_progress: bool
) -> tuple[faiss.Index, dict[str, Any]]:
    """The index over all rows, and the facts about how it was made."""
    if stored and intent.previous:
        try:
            folded, training = _folded(stored, vectors, deleted, intent.previous["training"], show_progress)
        except InputError as error:
            log.warning("%s; it is built anew", str(error).partition(";")[0])
        else:
            if training["drift"] <= MAX_DRIFT:
                return folded, {"spec": asdict(intent.plan.spec), "reason": intent.plan.reason, "training": training}
            log.info("the new rows have drifted by %.0f %%, so the index is trained anew", 100 * training["drift"])
    spec = intent.anew.spec
    # A random sample over all parts, never the first rows: shards are often sorted by source.
    rows = sample_rows(np.random.default_rng(spec.seed), len(vectors), deleted, spec.train_rows)
    index = trained(vectors, spec, rows, show_progress=show_progress)
    _add(index, vectors, 0, show_progress)
    training = {"rows": len(vectors), "residual": _spread(index, vectors, deleted, stream=1), "drift": 0.0}
    return index, {"spec": asdict(spec), "reason": intent.anew.reason, "training": training}


def _folded(
    stored: StoredIndex, vectors: Vectors, deleted: np.ndarray, training: Mapping[str, Any], show_progress: bool
) -> tuple[faiss.Index, dict[str, Any]]:
    """The index that is there with the new rows in its lists, and how it was trained; `drift` says how well they fit.

    Raises:
        InputError: if its file is damaged.
    """
    index = stored.load()
    _add(index, vectors, index.ntotal, show_progress)
    before = training["residual"]
    drift = _spread(index, vectors, deleted, stream=2) / before - 1 if before else 0.0
    return index, {**training, "drift": round(max(drift, 0.0), 4)}


def _add(index: faiss.Index, vectors: Vectors, start: int, show_progress: bool) -> None:
    total = len(vectors)
    with tqdm(
        total=total, initial=start, unit=" rows", desc="adding", disable=not show_progress, dynamic_ncols=True
    ) as bar:
        for _, xb in vectors.blocks(start):
            index.add(xb)
            bar.update(len(xb))
    assert index.ntotal == total, f"{total} rows were added, the index has {index.ntotal}"


def _spread(index: faiss.Index, vectors: Vectors, deleted: np.ndarray, *, stream: int) -> float:
    """Mean squared distance of a sample of all rows to the centres of their lists; 0 where there are none.

    Samples of different streams have nothing to do with each other, nor with the one that was trained on: rows lie
    nearer to centres that were trained on them (by 7 % at 39 rows a list) than their likes do.
    """
    rows = sample_rows(np.random.default_rng([_DRIFT_SEED, stream]), len(vectors), deleted, _DRIFT_ROWS)
    return round(residual(index, vectors.rows(rows)), 6)


def _report(
    manifest: Manifest,
    vectors: Vectors,
    deleted: np.ndarray,
    index: faiss.Index,
    facts: dict[str, Any],
    kinds: list[Queries],
    request: IndexRequest,
    show_progress: bool,
) -> dict[str, Any]:
    """Everything that `index.json` says; tuned on one half of the queries, measured on the other."""
    report: dict[str, Any] = {
        "version": VERSION,
        "space": manifest.spec.slug,
        "encoder_fingerprint": manifest.spec.fingerprint,
        "num_rows": manifest.num_rows,
        "target_recall": request.target_recall,
        "request": request_json(request),
        **facts,
        "bytes_per_row": round(facts["bytes"] / max(manifest.num_rows, 1), 1),
    }
    halves = [some.halves() for some in kinds]
    both = [half for pair in halves for half in pair]
    oracles = ask_oracle(vectors, deleted, both) if both else []
    pairs = list(zip(halves, zip(oracles[::2], oracles[1::2], strict=True), strict=True))
    found_by = Candidates(index, deleted)
    if facts["spec"]["factory"] != "Flat" and found_by.num_alive:
        report["tuning"] = {
            queries.kind: _tuned(found_by, queries, oracle, facts["spec"]["factory"], manifest.spec.dim, request)
            for (queries, _), (oracle, _) in tqdm(pairs, desc="tuning", disable=not show_progress)
        }
    opened = GalleryIndex(vectors, deleted, lambda: index, report)
    report["delivers"] = {some.kind: delivered(opened, some, oracle) for (_, some), (_, oracle) in pairs}
    rows = sample_rows(np.random.default_rng(request.seed or 0), manifest.num_rows, deleted, _CALIBRATION_ROWS)
    report["calibration"] = {some.kind: calibrate(vectors, some.emb_QD, rows) for some in kinds}
    report["queries"] = {
        "seed": request.seed,
        **{some.kind: {"count": len(some), "source": some.source} for some in kinds},
    }
    return report


def _tuned(
    found_by: Candidates, queries: Queries, oracle: Oracle, factory: str, dim: int, request: IndexRequest
) -> list[dict[str, Any]]:
    bytes_per_probe = found_by.num_rows * code_bytes(factory, dim) / max(found_by.widest, 1)
    targets = [*TARGETS, request.target_recall or 0.0]
    return tune(found_by, queries, oracle, targets=targets, bytes_per_probe=bytes_per_probe)

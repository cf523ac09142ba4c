"""Vectors → an index on disk that says what it delivers: plan, train, add, tune, measure, and only then replace.

FAISS's words (`xb, nlist, …`) stay inside this file, `train.py` and `candidates.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from tqdm import tqdm

from .candidates import Candidates
from .deletion import read_deleted
from .encoders.spec import ImageEncoder
from .files import exclusive, remove_temporary, replacing, write_json
from .index import GalleryIndex, index_folder, read_faiss, read_report
from .manifest import Manifest, read_manifest
from .measure import Oracle, ask_oracle, calibrate, delivered
from .plan import IndexSpec, Plan, check_recall, code_bytes, plan
from .queries import Queries, sample_queries, sample_rows
from .train import residual, trained
from .tune import TARGETS, tune
from .vectors import Vectors

log = logging.getLogger(__name__)

VERSION = 2
# New rows join the lists that were trained on older ones as long as they fit there: the mean squared distance of all
# rows to their lists' centres may grow by this share. Beyond, recall at the same breadth sinks measurably.
MAX_DRIFT = 0.05
# And as long as the lists are not much longer than they would be chosen now: then searches take longer than need be.
MAX_GROWTH = 4
# Queries of each kind, one half to tune and one to measure; fewer where the oracle would compare too many pairs.
_NUM_QUERIES, _LEAST_QUERIES = 2000, 200
_ORACLE_WORK = 1e10
_CALIBRATION_ROWS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRequest:
    """What a user asks for; None is what the gallery's index was asked for before, or the default."""

    memory_budget: int | None = None
    target_recall: float | None = None
    factory: str | None = None
    tune_queries: Path | None = None
    rebuild: bool = False
    seed: int = 0


def plan_index(root: Path, request: IndexRequest) -> tuple[Plan, bool]:
    """What `build_index` would do: the plan, and whether new rows are only folded in.

    Raises:
        InputError: if there is no gallery or nothing fits the request.
    """
    manifest = read_manifest(root)
    request = _as_before(request, read_report(root, manifest))
    chosen = _plan(manifest, request)
    return chosen, _may_fold(read_report(root, manifest), chosen, request, manifest)


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
    given = request or IndexRequest()
    with exclusive(root):
        manifest = read_manifest(root)
        previous = _previous(root, manifest)
        request = _as_before(given, previous)
        folder = index_folder(root, manifest)
        folder.mkdir(parents=True, exist_ok=True)
        remove_temporary(folder)
        started = time.perf_counter()
        index, facts = _index(root, manifest, request, previous, show_progress)
        facts["build_seconds"] = round(time.perf_counter() - started, 3)
        with replacing(folder / "index.faiss") as temporary:
            faiss.write_index(index, str(temporary))
            facts["bytes"] = temporary.stat().st_size
            report = _report(root, manifest, index, facts, encoder, request, show_progress)
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
    report = _previous(root, manifest)
    if report is None:
        return False
    with exclusive(output):
        folder = index_folder(output, manifest)
        index = read_faiss(index_folder(root, manifest) / "index.faiss")
        index.reset()
        with replacing(folder / "index.faiss") as temporary:
            faiss.write_index(index, str(temporary))
            size = temporary.stat().st_size
        write_json(folder / "index.json", {**report, "num_rows": 0, "bytes": size, "delivers": {}})
    return True


def _index(
    root: Path, manifest: Manifest, request: IndexRequest, previous: Mapping[str, Any] | None, show_progress: bool
) -> tuple[faiss.Index, dict[str, Any]]:
    """The index over all rows, and the facts about how it was made."""
    vectors = Vectors(root, manifest)
    chosen = _plan(manifest, request)
    if previous and _may_fold(previous, chosen, request, manifest):
        index = read_faiss(index_folder(root, manifest) / "index.faiss")
        training = dict(previous["training"])
        _add(index, vectors, index.ntotal, show_progress)
        drift = _drift(index, vectors, training, request.seed)
        if drift <= MAX_DRIFT:
            return index, {"spec": previous["spec"], "training": {**training, "drift": round(drift, 4)}}
        log.info("the new rows have drifted by %.0f %%, so the index is trained anew", 100 * drift)
    log.info("%s", chosen)
    rows = _training_rows(manifest, read_deleted(root), chosen.spec)
    index, energy = trained(vectors, chosen.spec, rows, show_progress=show_progress)
    _add(index, vectors, 0, show_progress)
    training = {"rows": manifest.num_rows, "residual": energy, "drift": 0.0}
    return index, {"spec": asdict(chosen.spec), "reason": chosen.reason, "training": training}


def _training_rows(manifest: Manifest, deleted: np.ndarray, spec: IndexSpec) -> np.ndarray:
    """A random sample over all parts, never the first rows: shards are often sorted by source."""
    return sample_rows(np.random.default_rng(spec.seed), manifest.num_rows, deleted, spec.train_rows)


def _add(index: faiss.Index, vectors: Vectors, start: int, show_progress: bool) -> None:
    total = len(vectors)
    with tqdm(
        total=total, initial=start, unit=" rows", desc="adding", disable=not show_progress, dynamic_ncols=True
    ) as bar:
        for _, xb in vectors.blocks(start):
            index.add(xb)
            bar.update(len(xb))
    assert index.ntotal == total, f"{total} rows were added, the index has {index.ntotal}"


def _drift(index: faiss.Index, vectors: Vectors, training: Mapping[str, Any], seed: int) -> float:
    """How much further from their lists' centres all rows are than at the training, as a share."""
    if not training["residual"]:
        return 0.0
    rows = sample_rows(np.random.default_rng(seed), len(vectors), np.zeros(0, np.int64), _DRIFT_ROWS)
    return residual(index, vectors.rows(rows)) / training["residual"] - 1


_DRIFT_ROWS = 20_000


def _plan(manifest: Manifest, request: IndexRequest) -> Plan:
    return plan(
        manifest.num_rows,
        manifest.spec.dim,
        memory_budget=request.memory_budget,
        factory=request.factory,
        num_threads=faiss.omp_get_max_threads(),
        seed=request.seed,
    )


def _previous(root: Path, manifest: Manifest) -> Mapping[str, Any] | None:
    """The report of the index that is there, if one can be gone on with."""
    from ..datasets.types import InputError

    try:
        report = read_report(root, manifest)
        if report is None or report.get("version") != VERSION:
            return None
        index = read_faiss(index_folder(root, manifest) / "index.faiss", memory_mapped=True)
        return report if index.ntotal == report["num_rows"] else None
    except InputError as error:
        log.warning("%s; it is built anew", str(error).partition(";")[0])
        return None


def _as_before(request: IndexRequest, previous: Mapping[str, Any] | None) -> IndexRequest:
    """What is not said now is as it was said before."""
    asked = (previous or {}).get("request", {})
    given = {name: value for name, value in asdict(request).items() if value is not None}
    merged = {"target_recall": 0.95, **asked, **given}
    queries = merged.get("tune_queries")
    check_recall(merged["target_recall"])
    return IndexRequest(**{**merged, "tune_queries": Path(queries) if queries else None})


def _may_fold(previous: Mapping[str, Any] | None, chosen: Plan, request: IndexRequest, manifest: Manifest) -> bool:
    """Whether rows added since can join the index that is there."""
    if previous is None or request.rebuild or previous["spec"]["seed"] != request.seed:
        return False
    asked = previous["request"]
    if asked["factory"] != request.factory or asked["memory_budget"] != request.memory_budget:
        return False
    was_flat, is_flat = (factory == "Flat" for factory in (previous["spec"]["factory"], chosen.spec.factory))
    return was_flat == is_flat and manifest.num_rows <= MAX_GROWTH * max(previous["training"]["rows"], 1)


def _report(
    root: Path,
    manifest: Manifest,
    index: faiss.Index,
    facts: dict[str, Any],
    encoder: ImageEncoder | None,
    request: IndexRequest,
    show_progress: bool,
) -> dict[str, Any]:
    """Everything that `index.json` says; tuned on one half of the queries, measured on the other."""
    deleted = read_deleted(root)
    vectors = Vectors(root, manifest)
    report: dict[str, Any] = {
        "version": VERSION,
        "space": manifest.spec.slug,
        "encoder_fingerprint": manifest.spec.fingerprint,
        "num_rows": manifest.num_rows,
        "target_recall": request.target_recall,
        "request": _request_json(request),
        **facts,
        "bytes_per_row": round(facts["bytes"] / max(manifest.num_rows, 1), 1),
    }
    count = int(min(_NUM_QUERIES, max(_LEAST_QUERIES, _ORACLE_WORK / max(manifest.num_rows, 1))))
    kinds = sample_queries(root, manifest, encoder, deleted, count=count, seed=request.seed, given=request.tune_queries)
    halves = [some.halves() for some in kinds]
    both = [half for pair in halves for half in pair]
    oracles = ask_oracle(vectors, deleted, both) if both else []
    pairs = list(zip(halves, zip(oracles[::2], oracles[1::2], strict=True), strict=True))
    if facts["spec"]["factory"] != "Flat" and index.ntotal:
        found_by = Candidates(index, deleted)
        report["tuning"] = {
            queries.kind: _tuned(found_by, queries, oracle, facts["spec"]["factory"], manifest.spec.dim, request)
            for (queries, _), (oracle, _) in tqdm(pairs, desc="tuning", disable=not show_progress)
        }
    opened = GalleryIndex(vectors, deleted, index, report)
    report["delivers"] = {some.kind: delivered(opened, some, oracle) for (_, some), (_, oracle) in pairs}
    rows = sample_rows(np.random.default_rng(request.seed), manifest.num_rows, deleted, _CALIBRATION_ROWS)
    report["calibration"] = {some.kind: calibrate(vectors, some, rows) for some in kinds}
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


def _request_json(request: IndexRequest) -> dict[str, Any]:
    queries = str(request.tune_queries) if request.tune_queries else None
    return {
        "memory_budget": request.memory_budget,
        "target_recall": request.target_recall,
        "factory": request.factory,
        "tune_queries": queries,
    }

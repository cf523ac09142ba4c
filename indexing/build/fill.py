"""Puts all rows into an index: the new ones into the existing index if they fit there, else all into a new one."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace

import faiss
import numpy as np
from tqdm import tqdm

from ...datasets.errors import InputError
from ..index.report import IndexReport, IndexSpec, Training, index_folder
from ..index.stored import StoredIndex
from ..index.vamana import Vamana
from ..measure.queries import sample_rows
from ..store.snapshot import Snapshot
from ..store.vectors import Vectors
from .graph import build_graph, extend_graph
from .request import Intent
from .train import residual, trained

log = logging.getLogger(__name__)

# New rows join the lists that were trained on older rows as long as they fit there: the mean squared distance of all
# rows to the centres of their lists may grow by this share. Beyond it, recall at the same breadth drops measurably.
MAX_DRIFT = 0.05
_DRIFT_ROWS, _DRIFT_SEED = 20_000, 1_000_003


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """An index over all rows, and how it was made."""

    index: faiss.Index | Vamana
    spec: IndexSpec
    reason: str
    training: Training
    seconds: float


def fill(snapshot: Snapshot, intent: Intent, show_progress: bool) -> Filled:
    """Folds the new rows into the existing index if they fit there; else builds a new one."""
    started = time.perf_counter()
    vectors = Vectors(snapshot)
    made = _fold(snapshot, vectors, intent.previous, show_progress) if intent.previous else None
    chosen = intent.plan if made else intent.fresh
    index, training = made or _new(snapshot, vectors, chosen.spec, show_progress)
    seconds = round(time.perf_counter() - started, 3)
    return Filled(index=index, spec=chosen.spec, reason=chosen.reason, training=training, seconds=seconds)


def _fold(
    snapshot: Snapshot, vectors: Vectors, previous: IndexReport, show_progress: bool
) -> tuple[faiss.Index | Vamana, Training] | None:
    """The existing index with the new rows; None if it is damaged or the rows have drifted too far from its lists."""
    folder = index_folder(snapshot)
    try:
        stored = StoredIndex.open(folder, previous.spec)
        if previous.spec.is_vamana:
            graph = extend_graph(folder, stored, previous, vectors, show_progress=show_progress)
            return graph, previous.training
        index = stored.load(previous, vectors)
    except InputError as error:
        log.warning("%s; it is built from scratch", str(error).partition(";")[0])
        return None
    _add(index, vectors, index.ntotal, show_progress)
    before = previous.training.residual
    drift = _spread(index, snapshot, vectors, stream=2) / before - 1 if before else 0.0
    training = replace(previous.training, drift=round(max(drift, 0.0), 4))
    if training.drift > MAX_DRIFT:
        log.info("the new rows have drifted by %.0f %%, so the index is trained again", 100 * training.drift)
        return None
    return index, training


def _new(
    snapshot: Snapshot, vectors: Vectors, spec: IndexSpec, show_progress: bool
) -> tuple[faiss.Index | Vamana, Training]:
    if spec.is_vamana:
        graph = build_graph(index_folder(snapshot), vectors, spec, show_progress=show_progress)
        return graph, Training(rows=len(vectors), residual=0.0)
    # A random sample over all parts, never the first rows: shards are often sorted by source.
    rows = sample_rows(np.random.default_rng(spec.seed), snapshot, spec.train_rows)
    index = trained(vectors, spec, rows, show_progress=show_progress)
    _add(index, vectors, 0, show_progress)
    return index, Training(rows=len(vectors), residual=_spread(index, snapshot, vectors, stream=1))


def _add(index: faiss.Index, vectors: Vectors, start: int, show_progress: bool) -> None:
    total = len(vectors)
    with tqdm(
        total=total, initial=start, unit=" rows", desc="adding", disable=not show_progress, dynamic_ncols=True
    ) as bar:
        for _, xb in vectors.blocks(start):
            index.add(xb)
            bar.update(len(xb))
    assert index.ntotal == total, f"{total} rows were added, the index has {index.ntotal}"


def _spread(index: faiss.Index, snapshot: Snapshot, vectors: Vectors, *, stream: int) -> float:
    """Mean squared distance of a sample of all rows to the centres of their lists; 0 where there are no lists.

    The samples of different streams are independent of each other and of the training sample: rows lie nearer to
    centres that were trained on them than other rows do (by 7 % at 39 rows per list).
    """
    rows = sample_rows(np.random.default_rng([_DRIFT_SEED, stream]), snapshot, _DRIFT_ROWS)
    return round(residual(index, vectors.rows(rows)), 6)

"""Vectors to an index on disk that says what it delivers: plan, train, add, tune, measure, and only then replace.

FAISS's words (`xb, nlist, …`) stay inside this room and `index.candidates`.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

import faiss
import numpy as np
from tqdm import tqdm

from ...datasets.checksums import settle
from ...datasets.errors import InputError
from ...datasets.files import exclusive
from ..encoders.spec import ImageEncoder
from ..index.calibration import calibrate
from ..index.candidates import Candidates
from ..index.effort import TunedBreadth
from ..index.opened import GalleryIndex
from ..index.report import IndexReport, IndexRequest, IndexSpec, RowStoreSize, Sampled, Training, index_folder
from ..index.stored import StoredIndex
from ..measure.oracle import Oracle, ask_oracle, measure
from ..measure.queries import Queries, num_queries, sample_queries, sample_rows
from ..store.layout import JOB_LOCK
from ..store.records import check_parts
from ..store.rows.writing import drop_rows, lay_out_rows, remove_replaced_rows
from ..store.snapshot import Snapshot
from ..store.vectors import Vectors
from .plan import Plan, code_bytes
from .request import Intent, has_its_index, intend, read_previous
from .save import finish_saving, save_index
from .train import residual, trained
from .tune import TARGETS, tune

log = logging.getLogger(__name__)

# New rows join the lists that were trained on older rows as long as they fit there: the mean squared distance of all
# rows to the centres of their lists may grow by this share. Beyond it, recall at the same breadth drops measurably.
MAX_DRIFT = 0.05
_DRIFT_ROWS, _DRIFT_SEED = 20_000, 1_000_003
_NUM_QUERIES = 2000  # of each kind: one half to tune with, the other half to measure with
_CALIBRATION_ROWS = 1000


def plan_index(root: str | Path, request: IndexRequest) -> Plan:
    """What `build_index` would do now; `Plan.reason` says whether new rows are only folded in.

    Raises:
        InputError: if there is no gallery, or nothing fits the request.
    """
    return _intend(Snapshot.read(Path(root)), request).plan


def build_index(
    root: str | Path, encoder: ImageEncoder | None, *, request: IndexRequest | None = None, show_progress: bool = False
) -> IndexReport:
    """Brings the index of a gallery's main space up to date, tunes it for real queries, and measures it.

    Rows added since the last build are folded in without training, unless they have drifted away from the rows that
    the index was trained on (`MAX_DRIFT`), the gallery has outgrown it (`MAX_GROWTH`), or the request differs.
    The existing index answers queries until the new one replaces it.

    Args:
        root: the gallery's folder.
        encoder: the gallery's encoder, which turns captions into queries. None: tune and measure with caption vectors
            that the gallery has, or with images alone.
        request: what to build.
        show_progress: progress bars on stderr.

    Returns:
        What was written to `index.json`.

    Raises:
        InputError: if there is no gallery, a job is writing to it, or nothing fits the request.
    """
    root = Path(root)
    with exclusive(root, JOB_LOCK):
        snapshot = Snapshot.read(root)
        finish_saving(root, index_folder(snapshot))
        settle(root)
        # Otherwise the index would be built from damaged vectors, and be right by its own checksum.
        check_parts(root, (number for number, _ in snapshot.manifest.parts), ["img_emb", "text_emb"])
        intent = _intend(snapshot, request or IndexRequest())
        # Before the work, which may take hours: a file of queries may turn out to be unusable.
        samples = sample_queries(
            snapshot,
            encoder,
            count=num_queries(_NUM_QUERIES, snapshot.num_rows),
            seed=intent.request.seed or 0,
            given=intent.request.tune_queries,
        )
        row_store = _lay_out_rows(snapshot, show_progress) if intent.request.row_store else None
        built = _build(snapshot, intent, show_progress)
        report = save_index(
            root,
            index_folder(snapshot),
            built.index,
            lambda: replace(_report(snapshot, built, samples, intent.request, show_progress), row_store=row_store),
        )
        # Only now: until the new report is there, readers keep the older list.
        if row_store is None:
            drop_rows(root)
        remove_replaced_rows(root, snapshot.manifest)
        return report


def carry_index(root: Path, output: Path) -> bool:
    """Gives a compacted gallery what the old gallery's index has learned, without rows; `build_index` adds them.

    An index that the new gallery already has stays as it is.

    Returns:
        Whether `build_index` must add the rows: False if the old gallery has no index, or the new one is complete.

    Raises:
        InputError: if a job is writing to the new gallery.
    """
    snapshot = Snapshot.read(root)
    report = read_previous(snapshot)
    if report is None or not has_its_index(snapshot, report):
        return False
    with exclusive(output, JOB_LOCK):
        target = Snapshot.read(output)
        finish_saving(output, index_folder(target))
        carried = read_previous(target)
        if carried is not None and has_its_index(target, carried):
            return carried.num_rows < target.num_rows or not carried.delivers
        index = StoredIndex.open(index_folder(snapshot)).load(report)
        index.reset()
        empty = replace(report, num_rows=0, delivers={})
        save_index(output, index_folder(target), index, lambda: empty)
    return True


def has_index(root: Path) -> bool:
    """Whether a gallery has an index that belongs to its report."""
    snapshot = Snapshot.read(root)
    report = read_previous(snapshot)
    return report is not None and has_its_index(snapshot, report)


def _lay_out_rows(snapshot: Snapshot, show_progress: bool) -> RowStoreSize | None:
    """Brings the row store up to date; None if a column has values that it cannot hold."""
    with tqdm(unit=" rows", desc="metadata", disable=not show_progress, dynamic_ncols=True) as bar:
        try:
            segments = lay_out_rows(snapshot.root, snapshot.manifest, on_rows=bar.update)
        except TypeError as error:
            log.warning("there is no row store, so metadata is read from the parts: %s", error)
            return None
    return RowStoreSize(
        num_rows=sum(segment.num_rows for segment in segments), num_bytes=sum(segment.num_bytes for segment in segments)
    )


def _intend(snapshot: Snapshot, request: IndexRequest) -> Intent:
    return intend(snapshot, request, num_threads=faiss.omp_get_max_threads())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    """An index over all rows, and how it was made."""

    index: faiss.Index
    spec: IndexSpec
    reason: str
    training: Training
    seconds: float


def _build(snapshot: Snapshot, intent: Intent, show_progress: bool) -> _Built:
    """Folds the new rows into the existing index if they fit there; else trains a new one."""
    started = time.perf_counter()
    vectors = Vectors(snapshot)
    made = _fold(snapshot, vectors, intent.previous, show_progress) if intent.previous else None
    chosen = intent.plan if made else intent.fresh
    index, training = made or _train(snapshot, vectors, chosen.spec, show_progress)
    seconds = round(time.perf_counter() - started, 3)
    return _Built(index=index, spec=chosen.spec, reason=chosen.reason, training=training, seconds=seconds)


def _fold(
    snapshot: Snapshot, vectors: Vectors, previous: IndexReport, show_progress: bool
) -> tuple[faiss.Index, Training] | None:
    """The existing index with the new rows in its lists; None if it is damaged or the rows have drifted too far."""
    try:
        index = StoredIndex.open(index_folder(snapshot)).load(previous)
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


def _train(snapshot: Snapshot, vectors: Vectors, spec: IndexSpec, show_progress: bool) -> tuple[faiss.Index, Training]:
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


def _report(
    snapshot: Snapshot,
    built: _Built,
    samples: list[Queries],
    request: IndexRequest,
    show_progress: bool,
) -> IndexReport:
    """Tunes the index with one half of the queries, and measures it with the other half."""
    report = IndexReport(
        space=snapshot.spec.slug,
        encoder_fingerprint=snapshot.spec.fingerprint,
        num_rows=snapshot.num_rows,
        num_bytes=0,
        target_recall=request.target_recall or 0.0,
        request=request,
        spec=built.spec,
        reason=built.reason,
        training=built.training,
        build_seconds=built.seconds,
        queries={some.kind: Sampled(count=len(some), source=some.source) for some in samples},
        seed=request.seed,
    )
    halves = [some.halves() for some in samples]
    oracles = ask_oracle(snapshot, [half for pair in halves for half in pair])
    to_tune = [(half, oracle) for (half, _), oracle in zip(halves, oracles[::2], strict=True)]
    to_measure = [(half, oracle) for (_, half), oracle in zip(halves, oracles[1::2], strict=True)]
    if not built.spec.is_flat and snapshot.num_alive:
        report = replace(report, tuning=_tuned(snapshot, built, to_tune, request, show_progress))
    opened = GalleryIndex(snapshot, lambda: built.index, report)
    rows = sample_rows(np.random.default_rng(request.seed or 0), snapshot, _CALIBRATION_ROWS)
    return replace(
        report,
        delivers={some.kind: measure(opened, some, oracle) for some, oracle in to_measure},
        calibration={some.kind: calibrate(opened.vectors, some.emb_QD, rows) for some in samples},
    )


def _tuned(
    snapshot: Snapshot,
    built: _Built,
    asked: list[tuple[Queries, Oracle]],
    request: IndexRequest,
    show_progress: bool,
) -> dict[str, tuple[TunedBreadth, ...]]:
    candidates = Candidates(built.index, snapshot.deleted)
    bytes_per_probe = (
        candidates.num_rows * code_bytes(built.spec.factory, snapshot.spec.dim) / max(candidates.widest, 1)
    )
    targets = [*TARGETS, request.target_recall or 0.0]
    return {
        queries.kind: tune(candidates, queries, oracle, targets=targets, bytes_per_probe=bytes_per_probe)
        for queries, oracle in tqdm(asked, desc="tuning", disable=not show_progress)
    }

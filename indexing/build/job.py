"""Vectors to an index on disk that says what it delivers: plan, train, add, tune, measure, and only then replace.

FAISS's words (`xb, nlist, …`) stay inside this room and `index.faiss_candidates` and `index.lists`.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
from tqdm import tqdm

from ...datasets.checksums import settle
from ...datasets.files import exclusive
from ..encoders.spec import ImageEncoder
from ..index.calibration import calibrate
from ..index.effort import TunedBreadth
from ..index.opened import GalleryIndex, candidates_of
from ..index.report import IndexReport, IndexRequest, RowStoreSize, Sampled, index_folder
from ..index.stored import StoredIndex
from ..index.vamana import Vamana
from ..measure.oracle import Oracle, ask_oracle, measure
from ..measure.queries import Queries, num_queries, sample_queries, sample_rows
from ..store.layout import JOB_LOCK
from ..store.records import check_parts
from ..store.rows.writing import drop_rows, lay_out_rows, remove_replaced_rows
from ..store.snapshot import Snapshot
from ..store.vectors import Vectors
from .fill import Filled, fill
from .graph import remove_work
from .plan import Plan, code_bytes
from .request import Intent, has_its_index, intend, read_previous
from .save import finish_saving, save_index
from .tune import TARGETS, tune

log = logging.getLogger(__name__)

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
        try:
            built = fill(snapshot, intent, show_progress)
            report = save_index(
                root,
                index_folder(snapshot),
                built.index,
                lambda: replace(_report(snapshot, built, samples, intent.request, show_progress), row_store=row_store),
            )
        finally:
            remove_work(index_folder(snapshot))
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
        index = _without_rows(snapshot, report)
        empty = replace(report, num_rows=0, delivers={})
        save_index(output, index_folder(target), index, lambda: empty)
    return True


def _without_rows(snapshot: Snapshot, report: IndexReport) -> faiss.Index | Vamana:
    """What an index has learned; a graph has learned nothing."""
    if report.spec.is_vamana:
        return Vamana(None, 0)
    index = StoredIndex.open(index_folder(snapshot), report.spec).load(report, Vectors(snapshot))
    index.reset()
    return index


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


def _report(
    snapshot: Snapshot,
    built: Filled,
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
    opened = GalleryIndex(snapshot, lambda _: built.index, report)
    rows = sample_rows(np.random.default_rng(request.seed or 0), snapshot, _CALIBRATION_ROWS)
    return replace(
        report,
        delivers={some.kind: measure(opened, some, oracle) for some, oracle in to_measure},
        calibration={some.kind: calibrate(opened.vectors, some.emb_QD, rows) for some in samples},
    )


def _tuned(
    snapshot: Snapshot,
    built: Filled,
    asked: list[tuple[Queries, Oracle]],
    request: IndexRequest,
    show_progress: bool,
) -> dict[str, tuple[TunedBreadth, ...]]:
    candidates = candidates_of(built.index, snapshot.deleted)
    bytes_per_probe = (
        candidates.num_rows * code_bytes(built.spec.factory, snapshot.spec.dim) / max(candidates.widest, 1)
    )
    targets = [*TARGETS, request.target_recall or 0.0]
    return {
        queries.kind: tune(candidates, queries, oracle, targets=targets, bytes_per_probe=bytes_per_probe)
        for queries, oracle in tqdm(asked, desc="tuning", disable=not show_progress)
    }

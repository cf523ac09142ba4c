"""What is asked of an index, and what follows from that and from the existing index: fold rows in, or train again."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace

from ...datasets.errors import InputError
from ..index.report import VERSION, IndexReport, IndexRequest, index_folder, read_report
from ..index.stored import StoredIndex
from ..store.snapshot import Snapshot
from .plan import Plan, check_recall, plan

log = logging.getLogger(__name__)

# New rows join the existing lists as long as the gallery is at most this many times as large as it was when they were
# trained: longer lists slow searches down. A graph that is added to needs a wider window for the same recall: up to
# twice as wide where it has doubled with rows of another kind.
MAX_GROWTH, MAX_GRAPH_GROWTH = 4, 1.5
_DEFAULTS = {"target_recall": 0.95, "row_store": True, "seed": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What will be done.

    Attributes:
        request: what was asked for, with nothing left open.
        plan: what will be built.
        fresh: the plan for a new index, should the new rows not fit into the existing one.
        previous: the report of the index that new rows join; None where a new index is trained.
    """

    request: IndexRequest
    plan: Plan
    fresh: Plan
    previous: IndexReport | None = None


def intend(snapshot: Snapshot, given: IndexRequest, *, num_threads: int) -> Intent:
    """Decides what to do with a gallery's index.

    Args:
        snapshot: the gallery.
        given: what is asked for now.
        num_threads: threads that build, for the estimate of time.

    Raises:
        InputError: if nothing fits the request.
    """
    known = read_previous(snapshot)
    request = _completed(given, known)
    budget = request.memory_budget

    def planned(factory: str | None, memory_budget: int | None) -> Plan:
        return plan(
            snapshot.num_rows,
            snapshot.spec.dim,
            memory_budget=memory_budget,
            factory=factory,
            num_threads=num_threads,
            seed=request.seed or 0,
        )

    if not snapshot.num_alive:  # nothing to train on
        flat = planned("Flat", None)
        return Intent(request=request, plan=flat, fresh=flat)
    fresh = planned(request.factory, budget)
    if known is None or not _fits(known, request, fresh, snapshot) or not has_its_index(snapshot, known):
        return Intent(request=request, plan=fresh, fresh=fresh)
    folded = planned(known.spec.factory, None)
    if budget is not None and folded.ram_bytes > budget:
        return Intent(request=request, plan=fresh, fresh=fresh)
    num_new = snapshot.num_rows - known.num_rows
    reason = f"{num_new} new rows are folded in without training" if num_new else "no row is new"
    return Intent(request=request, plan=replace(folded, reason=reason), fresh=fresh, previous=known)


def read_previous(snapshot: Snapshot) -> IndexReport | None:
    """The report of the existing index, if this version wrote it."""
    try:
        report = read_report(snapshot)
    except InputError as error:
        log.warning("%s; it is built from scratch", str(error).partition(";")[0])
        return None
    return report if report is not None and report.version == VERSION else None


def has_its_index(snapshot: Snapshot, report: IndexReport) -> bool:
    """Whether the file beside a report is the one that it describes; a kill may have come between the two."""
    try:
        return StoredIndex.open(index_folder(snapshot), report.spec).belongs_to(report)
    except InputError as error:
        log.warning("%s; it is built from scratch", str(error).partition(";")[0])
        return False


def _completed(given: IndexRequest, previous: IndexReport | None) -> IndexRequest:
    """Options that are not given now are as they were before. A factory and a budget replace each other."""
    before = previous.request if previous else IndexRequest()
    if given.factory or given.memory_budget:
        before = replace(before, factory=None, memory_budget=None)
    known = {name: value for name, value in asdict(before).items() if value is not None and name != "rebuild"}
    asked = {name: value for name, value in asdict(given).items() if value is not None}
    request = IndexRequest(**{**_DEFAULTS, **known, **asked})
    check_recall(request.target_recall or 0.0)
    return replace(request, tune_queries=request.tune_queries.resolve() if request.tune_queries else None)


def _fits(previous: IndexReport, request: IndexRequest, fresh: Plan, snapshot: Snapshot) -> bool:
    """Whether the existing index is of the kind that is asked for now."""
    asked = previous.request
    is_same = all(getattr(asked, name) == getattr(request, name) for name in ("factory", "memory_budget", "seed"))
    growth = MAX_GRAPH_GROWTH if fresh.spec.is_vamana else MAX_GROWTH
    has_grown = snapshot.num_rows > growth * max(previous.training.rows, 1)
    is_flat = fresh.spec.is_flat
    return is_same and previous.spec.is_flat == is_flat and not request.rebuild and (is_flat or not has_grown)

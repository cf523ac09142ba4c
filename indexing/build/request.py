"""What a user asks of an index, and what follows from that and from the index that is there: fold, or build anew."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...datasets.errors import InputError
from ..index.stored import StoredIndex, index_folder, read_report
from ..store.manifest import Manifest
from .plan import Plan, check_recall, plan

log = logging.getLogger(__name__)

VERSION = 2  # of index.json
# New rows join the lists as long as these are not much longer than they would be chosen now: else searches slow down.
MAX_GROWTH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRequest:
    """What is asked for; None is what the gallery's index was asked for before, or the default."""

    memory_budget: int | None = None
    target_recall: float | None = None
    factory: str | None = None
    tune_queries: Path | None = None
    rebuild: bool = False
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What is to be done: the request with nothing left open, the plan, and the report of the index that new rows join.

    `previous` is None where the index is trained anew; `anew` is the plan for that, should the new rows not fit.
    """

    request: IndexRequest
    plan: Plan
    anew: Plan
    previous: Mapping[str, Any] | None = None


def intend(root: Path, manifest: Manifest, given: IndexRequest, *, num_deleted: int, num_threads: int) -> Intent:
    """Decides what becomes of a gallery's index.

    Raises:
        InputError: if nothing fits the request.
    """
    known = read_previous(root, manifest)
    request = _as_before(given, known)
    budget = request.memory_budget

    def planned(factory: str | None, memory_budget: int | None) -> Plan:
        return plan(
            manifest.num_rows,
            manifest.spec.dim,
            memory_budget=memory_budget,
            factory=factory,
            num_threads=num_threads,
            seed=request.seed or 0,
        )

    if num_deleted >= manifest.num_rows:  # nothing to train on
        flat = planned("Flat", None)
        return Intent(request=request, plan=flat, anew=flat)
    fresh = planned(request.factory, budget)
    if known is None or not _is_as_asked(known, request, fresh, manifest) or not has_its_index(root, manifest, known):
        return Intent(request=request, plan=fresh, anew=fresh)
    folded = planned(known["spec"]["factory"], None)
    if budget is not None and folded.ram_bytes > budget:
        return Intent(request=request, plan=fresh, anew=fresh)
    reason = f"{manifest.num_rows - known['num_rows']} new rows are folded in without training"
    return Intent(request=request, plan=replace(folded, reason=reason), anew=fresh, previous=known)


def read_previous(root: Path, manifest: Manifest) -> Mapping[str, Any] | None:
    """The report of the index that is there, if this version wrote it."""
    try:
        report = read_report(root, manifest)
    except InputError as error:
        log.warning("%s; it is built anew", str(error).partition(";")[0])
        return None
    return report if report is not None and report.get("version") == VERSION else None


def has_its_index(root: Path, manifest: Manifest, report: Mapping[str, Any]) -> bool:
    """Whether the file beside a report is the one that it describes; a kill may have come between the two."""
    try:
        return StoredIndex.open(index_folder(root, manifest)).belongs_to(report)
    except InputError as error:
        log.warning("%s; it is built anew", str(error).partition(";")[0])
        return False


def request_json(request: IndexRequest) -> dict[str, Any]:
    """The request as `index.json` keeps it."""
    values = asdict(request)
    del values["rebuild"]
    return {**values, "tune_queries": str(request.tune_queries) if request.tune_queries else None}


def _as_before(given: IndexRequest, previous: Mapping[str, Any] | None) -> IndexRequest:
    """What is not said now is as it was said before. A factory and a budget replace each other."""
    before = dict((previous or {}).get("request", {}))
    if given.factory or given.memory_budget:
        before |= {"factory": None, "memory_budget": None}
    said = {name: value for name, value in asdict(given).items() if value is not None}
    merged = {"target_recall": 0.95, "seed": 0, **{k: v for k, v in before.items() if v is not None}, **said}
    queries = merged.get("tune_queries")
    check_recall(merged["target_recall"])
    return IndexRequest(**{**merged, "tune_queries": Path(queries).resolve() if queries else None})


def _is_as_asked(previous: Mapping[str, Any], request: IndexRequest, fresh: Plan, manifest: Manifest) -> bool:
    """Whether the index that is there is of the kind that is asked for now."""
    asked = previous["request"]
    same = all(asked[name] == getattr(request, name) for name in ("factory", "memory_budget", "seed"))
    was_flat, is_flat = (factory == "Flat" for factory in (previous["spec"]["factory"], fresh.spec.factory))
    has_grown = manifest.num_rows > MAX_GROWTH * max(previous["training"]["rows"], 1)
    return same and was_flat == is_flat and not request.rebuild and (is_flat or not has_grown)

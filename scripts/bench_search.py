"""Cost and recall of searches with filters, and the cost of conditions, in one run.

    python -m diantu.scripts.bench_search --output FOLDER [--rows 1000000]

The vectors are synthetic (see `bench.generator`). A filter lets a share of the rows through. One kind of filter is over
`chance`, which is independent of the vectors. The other is over `side`, the similarity to the first row; its queries
are those most similar to the first row, so that the filter is correlated with the query (the best hits match) or anti-
correlated (none of them does).

An independent oracle, numpy over the rows that DuckDB returns, judges recall@10. Queries run one at a time, on one
thread; each is searched without a filter, at several efforts, and then with every filter, so that a slow minute of the
machine affects all alike. Ratios are p50 ÷ p50 of a search without a filter at the same recall, interpolated between
the efforts; if the filtered search has a higher recall than the highest effort (0.99), the ratio is to that effort. The
time to read metadata is not part of them: `bench_answers` measures it.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..indexing.build.job import build_index
from ..indexing.build.request import IndexRequest
from ..indexing.index.effort import Effort, Strategy
from ..indexing.index.opened import GalleryIndex, faiss_threads
from ..indexing.index.report import IndexReport, read_report
from ..indexing.index.within import FilterCache
from ..indexing.store.columns import Columns
from ..indexing.store.filters import Filters
from ..indexing.store.rowset import RowSet
from ..indexing.store.snapshot import Snapshot
from .bench.table import Line, print_targets
from .bench.vectors import Bench, synthetic
from .commands.common import print_json
from .main import call

_SHARES = (0.00001, 0.001, 0.01, 0.1, 0.5)
_K = 10
_RECALL = 0.95
_PRECISE = 0.99  # the target recall of narrow filters
_EFFORTS = (0.9, "balanced", 0.98, 0.99)
_NARROW, _TIMES = 0.05, 3.0  # a narrow filter lets less than this share through; how much slower it may be
_WHERE_MS, _REPEATED_MS = 30.0, 1.0
# Conditions over one, two and three columns, numbers and texts; each number makes another condition.
_CONDITIONS = (
    "width >= {0} AND punsafe < 0.1",
    "chance < 0.{0} OR width BETWEEN 512 AND 1024",
    "punsafe < 0.{0} AND width > 300 AND NOT chance > 0.9",
    "key LIKE '%{0}'",
)


@dataclass(kw_only=True)
class _Case:
    """A way to search, with or without a filter, and its results."""

    name: str
    search: Callable[[np.ndarray], tuple[np.ndarray, Strategy]]
    queries_QD: np.ndarray
    threshold_Q: np.ndarray  # the score of the tenth exact result
    num_possible: int
    share: float = 1.0
    seconds: list[float] = field(default_factory=list)
    recalls: list[float] = field(default_factory=list)
    short: int = 0
    strategies: set[str] = field(default_factory=set)

    def search_one(self, query: int) -> None:
        """Searches one query and judges the result."""
        started = time.perf_counter()
        scores_K, strategy = self.search(self.queries_QD[query][None])
        self.seconds.append(time.perf_counter() - started)
        self.recalls.append(float((scores_K >= self.threshold_Q[query] - 1e-5).sum()) / self.num_possible)
        self.short += len(scores_K) < self.num_possible
        self.strategies.add(strategy.name)

    @property
    def recall(self) -> float:
        """Mean recall@10."""
        return statistics.fmean(min(recall, 1.0) for recall in self.recalls)

    @property
    def p50_ms(self) -> float:
        """The median of one search."""
        return 1000 * statistics.median(self.seconds)


def run(
    output: str,
    rows: int = 1_000_000,
    queries: int = 200,
    json_: bool = False,
    seed: int = 0,
) -> int:
    """Measures filtered searches and conditions, and prints what they reach.

    Args:
        output: the folder for the galleries; what is in it already is used again.
        rows: number of vectors to search.
        queries: number of queries of each kind.
        json_: print the results as JSON on stdout.
        seed: the seed of the vectors and the queries.
    """
    bench = synthetic(Path(output) / "vectors", rows, seed=seed)
    report = _indexed(bench)
    cases, lines = _filtered(bench, queries)
    lines += _conditions(bench)
    if json_:
        print_json({"rows": rows, "filters": [_facts(one) for one in cases], "lines": [asdict(line) for line in lines]})
        return 0
    print(f"{rows} vectors, {report.spec.factory}, {queries} text queries each, one at a time\n")
    print(f"{'':28}{'share':>9}{'recall@10':>11}{'too few':>9}{'p50 ms':>9}  by")
    for one in cases:
        by = ", ".join(sorted(one.strategies))
        print(f"{one.name:<28}{one.share:>9.3%}{one.recall:>11.4f}{one.short:>9}{one.p50_ms:>9.3f}  {by}")
    print()
    print_targets(lines)
    return 0


def _indexed(bench: Bench) -> IndexReport:
    """The report of the gallery's index, which is built if there is none."""
    report = read_report(Snapshot.read(bench.gallery))
    if report is not None:
        return report
    return build_index(bench.gallery, None, request=IndexRequest(target_recall=_RECALL, tune_queries=bench.tuning))


def _filtered(bench: Bench, num_queries: int) -> tuple[list[_Case], list[Line]]:
    import torch

    snapshot = Snapshot.read(bench.gallery)
    index = GalleryIndex.open(snapshot)
    filters = Filters(Columns(snapshot))
    texts_QD = np.load(bench.queries("text"))
    towards_Q = np.argsort(-(texts_QD @ index.vectors.rows(np.array([0]))[0]))  # most similar to the first row first
    random_QD, along_QD = texts_QD[:num_queries], texts_QD[towards_Q[:num_queries]]
    every = np.arange(len(index.vectors))
    cases = [_unfiltered(index, effort, random_QD, every) for effort in _EFFORTS]
    for share in _SHARES:
        for name, where, queries_QD in (
            ("independent", f"chance < {share}", random_QD),
            ("correlated", f"side > {1 - share:.5f}", along_QD),
            ("anti-correlated", f"side < {share}", along_QD),
        ):
            chosen = filters.rows(where)
            if len(chosen.rows()):  # the smallest shares of a small gallery are no rows
                cases.append(_within(index, chosen, name, queries_QD))
    torch.set_num_threads(1)
    with faiss_threads(1):
        for one in cases:  # reads codes and evaluates filters, which only a first search must do
            one.search(one.queries_QD[:1])
        for query in range(num_queries):
            for one in cases:
                one.search_one(query)
    return cases, _filter_lines(cases[: len(_EFFORTS)], cases[len(_EFFORTS) :])


def _filter_lines(unfiltered: Sequence[_Case], filtered: Sequence[_Case]) -> list[Line]:
    recalls, p50s = [one.recall for one in unfiltered], [one.p50_ms for one in unfiltered]
    lines = []
    for one in filtered:
        least = _PRECISE if one.share < _NARROW else _RECALL
        times = one.p50_ms / float(np.interp(one.recall, recalls, p50s))
        lines.append(
            Line(
                what=f"{one.name}, {one.share:.3%}",
                value=f"recall {one.recall:.4f}, {times:.2f}×, {one.short} too few",
                target=f"≥ {least}, ≤ {_TIMES:.0f}×, none",
                met=one.recall >= least and times <= _TIMES and not one.short,
            )
        )
    return lines


def _unfiltered(index: GalleryIndex, effort: Effort, queries_QD: np.ndarray, every: np.ndarray) -> _Case:
    def search(query_1D: np.ndarray) -> tuple[np.ndarray, Strategy]:
        scores_1K, _ = index.search(query_1D, _K, effort=effort)
        return scores_1K[0], index.strategy(effort, "text", _K)

    return _Case(
        name=f"no filter, effort {effort}",
        search=search,
        queries_QD=queries_QD,
        threshold_Q=_threshold(index, queries_QD, every),
        num_possible=_K,
    )


def _within(index: GalleryIndex, chosen: RowSet, name: str, queries_QD: np.ndarray) -> _Case:
    among, rows = FilterCache(index).within(chosen), chosen.rows()

    def search(query_1D: np.ndarray) -> tuple[np.ndarray, Strategy]:
        found = among.search(query_1D, _K)
        return found.scores_QK[0], found.strategies[0]

    return _Case(
        name=name,
        search=search,
        queries_QD=queries_QD,
        threshold_Q=_threshold(index, queries_QD, rows),
        num_possible=min(_K, len(rows)),
        share=len(rows) / len(index.vectors),
    )


def _threshold(index: GalleryIndex, queries_QD: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The score of the tenth best of some rows, or of the last one if there are fewer: `Q` float32."""
    best_QK = np.full((len(queries_QD), 0), -np.inf, np.float32)
    for low in range(0, len(rows), 50_000):
        scores_QN = queries_QD @ index.vectors.rows(rows[low : low + 50_000]).T
        best_QK = -np.sort(-np.hstack([best_QK, scores_QN]), axis=1)[:, :_K]
    return best_QK[:, -1]


def _conditions(bench: Bench) -> list[Line]:
    """Times conditions → rows: with columns read from disk, with columns in memory, and repeated conditions."""
    filters = Filters(Columns(Snapshot.read(bench.gallery)))
    first = [_ms(filters, form.format(1)) for form in _CONDITIONS]
    further = [_ms(filters, form.format(number)) for number in range(2, 10) for form in _CONDITIONS]
    repeated = [_ms(filters, form.format(number)) for number in range(2, 10) for form in _CONDITIONS]
    p50, again = statistics.median(further), statistics.median(repeated)
    return [
        Line(what="a condition whose columns must be read", value=f"{max(first):.0f} ms at most"),
        Line(
            what="a condition → its rows",
            value=f"{p50:.1f} ms (at most {max(further):.1f})",
            target=f"≤ {_WHERE_MS:.0f} ms",
            met=p50 <= _WHERE_MS,
        ),
        Line(
            what="the same condition again",
            value=f"{again:.3f} ms",
            target=f"≤ {_REPEATED_MS:.0f} ms",
            met=again <= _REPEATED_MS,
        ),
    ]


def _ms(filters: Filters, where: str) -> float:
    started = time.perf_counter()
    filters.rows(where)
    return 1000 * (time.perf_counter() - started)


def _facts(one: _Case) -> dict[str, Any]:
    return {
        "name": one.name,
        "share": one.share,
        "recall": one.recall,
        "short": one.short,
        "p50_ms": one.p50_ms,
        "strategies": sorted(one.strategies),
    }


if __name__ == "__main__":
    sys.exit(call(run, "python -m diantu.scripts.bench_search", sys.argv[1:]))

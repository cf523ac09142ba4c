"""What an index delivers: recall against an independent exact oracle, with confidence intervals, and its speed.

Shapes: Q queries, K results, D dimension.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..index.effort import Effort
from ..index.exact import exact_search
from ..index.opened import GalleryIndex, faiss_threads
from ..index.report import Delivered
from ..store.snapshot import Snapshot
from ..store.vectors import Vectors
from .queries import Queries

DEPTHS = (1, 10, 100)
_NUM_TIMED = 200
# The float32 inner products of the same two vectors may differ by this much between two libraries.
_TIE = 1e-5
# Additional results that the oracle keeps, so that rows which tie with the k-th best are known, too.
_SLACK = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """The exact answers to some queries: `scores_QK` descending, padded with −inf; `rows_QK`, padded with −1.

    K is more than the largest depth, so that ties are known. The rows that queries were taken from are left out.
    """

    scores_QK: np.ndarray
    rows_QK: np.ndarray

    def threshold(self, k: int) -> np.ndarray:
        """For each query, the score from which a row is among the k best: `Q1`."""
        return self.scores_QK[:, k - 1 : k] - _TIE

    def relevant(self, k: int) -> list[np.ndarray]:
        """For each query, the rows among its k best; more than k where scores tie."""
        is_best_QK = (self.scores_QK >= self.threshold(k)) & (self.rows_QK >= 0)
        return [rows[is_best] for rows, is_best in zip(self.rows_QK, is_best_QK, strict=True)]


def ask_oracle(snapshot: Snapshot, queries: Sequence[Queries]) -> list[Oracle]:
    """Compares every query with every row that is not deleted, in one pass over the vectors. It uses no index."""
    if not queries:
        return []
    depth = min(max(DEPTHS) + _SLACK + 1, max(snapshot.num_alive, 1))
    together_QD = np.concatenate([some.emb_QD for some in queries])
    scores_QK, rows_QK = exact_search(Vectors(snapshot), together_QD, depth, deleted=snapshot.deleted)
    ends = np.cumsum([len(some) for some in queries])[:-1]
    return [
        Oracle(scores_QK=scores, rows_QK=rows)
        for some, scores, rows in zip(queries, np.split(scores_QK, ends), np.split(rows_QK, ends), strict=True)
        for scores, rows in [without_own(scores, rows, some.own_Q)]
    ]


def without_own(scores_QK: np.ndarray, rows_QK: np.ndarray, own_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Results without the rows that the queries were taken from: K − 1 columns, because one row may be left out."""
    is_own_QK = rows_QK == own_Q[:, None]
    is_own_QK[~is_own_QK.any(axis=1), -1] = True
    kept = (len(rows_QK), max(rows_QK.shape[1] - 1, 0))
    return scores_QK[~is_own_QK].reshape(kept), rows_QK[~is_own_QK].reshape(kept)


def measure(index: GalleryIndex, queries: Queries, oracle: Oracle, *, effort: Effort = "balanced") -> Delivered:
    """Measures what an index delivers for some queries: recall@1, 10 and 100, latency, and queries per second.

    Each recall@k is that of searches for k results.
    """
    recalls: dict[int, float] = {}
    intervals: dict[int, tuple[float, float]] = {}
    for k in DEPTHS:
        if k <= oracle.scores_QK.shape[1]:
            found_Q = recalls_of(index, queries, oracle, k, effort)
            recalls[k], intervals[k] = mean_and_interval(found_Q)
    with faiss_threads(1):
        latency, qps = {"one_thread": _latency(index, queries, effort)}, {"one_thread": _qps(index, queries, effort)}
    latency["all_threads"], qps["all_threads"] = _latency(index, queries, effort), _qps(index, queries, effort)
    return Delivered(
        queries=len(queries),
        source=queries.source,
        effort=effort,
        recall=recalls,
        interval=intervals,
        latency_ms=latency,
        qps=qps,
    )


def recalls_of(index: GalleryIndex, queries: Queries, oracle: Oracle, k: int, effort: Effort) -> np.ndarray:
    """The recall@k of each query: `Q` float64.

    Scores are compared, not rows, so that either of two rows with equal scores counts.
    """
    breadth = index.efforts.breadth(effort, queries.kind, k)
    if breadth and (queries.own_Q >= 0).any():  # its own row takes the place of one candidate
        breadth = replace(breadth, candidates=breadth.candidates + 1)
    scores_QK, rows_QK = index.search_at(queries.emb_QD, k + 1, breadth)
    scores_QK, _ = without_own(scores_QK, rows_QK, queries.own_Q)
    exact_Q1 = oracle.threshold(k)
    possible_Q = np.maximum(np.isfinite(oracle.scores_QK[:, :k]).sum(axis=1), 1)
    reached_QK = (scores_QK[:, :k] >= exact_Q1) & np.isfinite(scores_QK[:, :k])
    return np.minimum(reached_QK.sum(axis=1) / possible_Q, 1.0)


def mean_and_interval(values_Q: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The mean and its 95 % confidence interval, by the normal approximation over queries."""
    mean = float(values_Q.mean())
    half = 1.96 * float(values_Q.std(ddof=1)) / len(values_Q) ** 0.5 if len(values_Q) > 1 else 1.0
    return round(mean, 4), (round(max(mean - half, 0.0), 4), round(min(mean + half, 1.0), 4))


def _latency(index: GalleryIndex, queries: Queries, effort: Effort) -> dict[str, float]:
    milliseconds = []
    for query_D in queries.emb_QD[:_NUM_TIMED]:
        started = time.perf_counter()
        index.search(query_D[None], 10, effort=effort, kind=queries.kind)
        milliseconds.append(1000 * (time.perf_counter() - started))
    return {f"p{p}": round(float(np.percentile(milliseconds, p)), 3) for p in (50, 99)}


def _qps(index: GalleryIndex, queries: Queries, effort: Effort) -> float:
    some_QD = queries.emb_QD[:_NUM_TIMED]
    started = time.perf_counter()
    index.search(some_QD, 10, effort=effort, kind=queries.kind)
    return round(len(some_QD) / (time.perf_counter() - started), 1)

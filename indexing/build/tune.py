"""How much of an approximate index a search must look at to reach a recall for the queries that users send.

Shapes: Q queries, R candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..index.candidates import Candidates
from ..index.effort import Breadth, TunedBreadth
from ..measure.oracle import Oracle
from ..measure.queries import Queries

# Recalls to tune for, in addition to the requested one, and the numbers of results.
TARGETS = (0.8, 0.9, 0.95, 0.98, 0.99)
TUNED_K = (10, 100)
# The largest number of candidates per query that are scored exactly.
_DEPTH = 1024
# Values of nprobe that are tried per power of two.
_STEPS = 4
# The cost of reading a row for its exact score, in bytes of codes that could be scanned instead. In memory it is about
# 3 kB (measured: 0.45 µs per row, 7 GB/s of codes); from a disk it is far more, so few candidates are preferred.
_ROW_COST = 8_000


def tune(
    index: Candidates,
    queries: Queries,
    oracle: Oracle,
    *,
    targets: Sequence[float] = TARGETS,
    bytes_per_probe: float,
) -> tuple[TunedBreadth, ...]:
    """The cheapest breadth for every recall and number of results, for queries of one kind.

    Args:
        index: the index.
        queries: a sample that is not used to measure what the index delivers.
        oracle: their exact answers.
        targets: recalls to reach.
        bytes_per_probe: bytes of codes that one more nprobe costs.

    Returns:
        One value for each target and number of results. A target that cannot be reached by scoring 1024 candidates from
        any number of lists is left out, and its searches are exact.
    """
    targets = sorted(set(targets))
    relevant = {k: oracle.relevant(k) for k in TUNED_K if k < index.num_alive}
    depth = min(_DEPTH, index.num_alive)
    measured: dict[int, dict[int, np.ndarray]] = {}  # nprobe → k → recall by the number of candidates
    for nprobe in _steps(index.widest):
        # A graph is searched at least as widely as the number of candidates, so more would measure a wider search.
        deep = depth if index.lists or not nprobe else min(depth, nprobe)
        rows_QR = _own_last(index.rows(queries.emb_QD, deep, nprobe), queries.own_Q)
        curves = {
            k: _recall_by_depth(rows_QR[:, :k] if index.are_scored else rows_QR, rows, k)
            for k, rows in relevant.items()
            if k <= deep
        }
        measured[nprobe] = curves
        if len(curves) == len(relevant) and all(curve[-1] >= targets[-1] for curve in curves.values()):
            break
    return tuple(
        TunedBreadth(
            target=target,
            k=k,
            nprobe=breadth.nprobe,
            candidates=breadth.candidates,
            recall=round(float(measured[breadth.nprobe][k][breadth.candidates - 1]), 4),
        )
        for k in relevant
        for target in targets
        if (breadth := _cheapest(measured, k, target, bytes_per_probe))
    )


def _steps(widest: int) -> list[int]:
    """Values of nprobe to try, ascending, ending with the widest."""
    if not widest:
        return [0]
    powers = np.arange(0, np.log2(widest), 1 / _STEPS)
    return sorted({*(2**powers).round().astype(int).tolist(), widest})


def _own_last(rows_QR: np.ndarray, own_Q: np.ndarray) -> np.ndarray:
    """Candidates without the query's own row, which every index finds."""
    order = np.argsort(rows_QR == own_Q[:, None], axis=1, kind="stable")
    rows_QR = np.take_along_axis(rows_QR, order, 1)
    rows_QR[rows_QR == own_Q[:, None]] = -1
    return rows_QR


def _recall_by_depth(rows_QR: np.ndarray, relevant: Sequence[np.ndarray], k: int) -> np.ndarray:
    """Recall@k when the first 1, 2, … R candidates are scored exactly: `R` float64.

    One standard error is subtracted: the cheapest of many breadths is taken, so chance would favour those that look
    better on this sample than they are.
    """
    hits_QR = np.stack([_is_among(row, rows) for row, rows in zip(rows_QR, relevant, strict=True)])
    recall_QR = np.minimum(hits_QR.cumsum(axis=1), k) / k
    return recall_QR.mean(axis=0) - recall_QR.std(axis=0) / len(recall_QR) ** 0.5


def _is_among(rows_R: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """`np.isin` by binary search: several times as fast, because few rows are relevant. `R` bool."""
    ascending = np.sort(relevant)
    place_R = np.searchsorted(ascending, rows_R).clip(max=len(ascending) - 1)
    return ascending[place_R] == rows_R


def _cheapest(
    measured: dict[int, dict[int, np.ndarray]], k: int, target: float, bytes_per_probe: float
) -> Breadth | None:
    best: tuple[float, Breadth] | None = None
    for nprobe, curves in measured.items():
        enough = np.flatnonzero(curves.get(k, np.zeros(0)) >= target)
        if len(enough):
            candidates = max(int(enough[0]) + 1, k)
            cost = nprobe * bytes_per_probe + candidates * _ROW_COST
            if best is None or cost < best[0]:
                best = cost, Breadth(nprobe=nprobe, candidates=candidates)
    return best[1] if best else None

"""Recall, the breadth that reaches a recall, and the time of searches."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from .engine import Engine, note
from .job import K

# A timed pass ends after this many seconds, but not before some queries; the first ones warm the caches up.
_PASS_SECONDS, _LEAST_TIMED, _WARM_UP = 20.0, 50, 20
# If twice the breadth raises the recall by less than this, more breadth will not help.
_PLATEAU = 0.001


def recall(rows_QK: np.ndarray, exact_QK: np.ndarray) -> float:
    """Recall@10: the share of the ten exact results that are among the ten found, mean over the queries."""
    found = [len(np.intersect1d(rows[:K], exact[:K])) for rows, exact in zip(rows_QK, exact_QK, strict=True)]
    return float(np.mean(found)) / K


def least_breadth(engine: Engine, queries_QD: np.ndarray, exact_QK: np.ndarray, target: float) -> tuple[int, float]:
    """Finds the smallest breadth that reaches a target recall, to within 2 %.

    The queries that are timed later are used here, too, which favours the peers. Our own engine starts from the breadth
    that was tuned with other queries.

    Returns:
        The breadth and its recall. If no breadth reaches the target: the smallest one that is as good as the best.
    """
    measured: dict[int, float] = {}

    def reached(breadth: int) -> float:
        if breadth not in measured:
            engine.set_breadth(breadth)
            measured[breadth] = recall(engine.search(queries_QD), exact_QK)
            note(f"{engine.breadth} {breadth}: recall {measured[breadth]:.4f}")
        return measured[breadth]

    first, last = engine.limits(target)
    low = high = first
    while reached(high) < target and high < last:
        if high > first and reached(high) - reached(low) < _PLATEAU:
            break
        low, high = high, min(2 * high, last)
    if reached(high) < target:  # out of reach
        target, low = max(measured.values()) - _PLATEAU, first
    if reached(low) >= target:
        return low, reached(low)
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) >= target else (middle, high)
    return high, reached(high)


def timed_pass(engine: Engine, queries_QD: np.ndarray) -> dict[str, Any]:
    """Times the queries one at a time, then all in one call; both on one thread."""
    for query in range(min(_WARM_UP, len(queries_QD))):
        engine.search(queries_QD[query : query + 1])
    seconds: list[float] = []
    while len(seconds) < len(queries_QD) and (len(seconds) < _LEAST_TIMED or sum(seconds) < _PASS_SECONDS):
        query_1D = queries_QD[len(seconds) : len(seconds) + 1]
        started = time.perf_counter()
        engine.search(query_1D)
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    engine.search(queries_QD)
    together = time.perf_counter() - started
    return {
        "timed": len(seconds),
        "qps": len(seconds) / sum(seconds),
        "p50_ms": 1000 * float(np.percentile(seconds, 50)),
        "p99_ms": 1000 * float(np.percentile(seconds, 99)),
        "qps_together": len(queries_QD) / together,
    }

"""Selects and orders the hits among the nearest rows: folding, thresholds, diversity, other sort orders, pages.

Shapes: K rows in the order in which they are found, M rows of the window that is reordered, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np

from ..datasets.values import as_text
from .options import Options

# Depth → the scores and rows of the best `depth` rows, best first; fewer only if there are no more.
Search: TypeAlias = Callable[[int], tuple[np.ndarray, np.ndarray]]

# If too few rows remain after folding and thresholds, the next search is this many times deeper.
_DEEPER = 4


def found(
    search: Search,
    depth: int,
    options: Options,
    *,
    representatives: Callable[[np.ndarray], np.ndarray] | None = None,
    zscores: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    is_usable: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the nearest rows that pass the thresholds, `options.depth` of them if there are so many.

    Pages are stable: the same first `depth` gives the same rows in the same order, whatever the size of the page.

    Args:
        search: finds the rows with the highest scores.
        depth: how deep the first search goes.
        options: the thresholds.
        representatives: rows → the representative of the group of each; of each group only the first row is kept. None
            keeps all rows.
        zscores: scores and rows → zscores; None if there are none.
        is_usable: scores and rows → whether each row has a vector that can be compared; None if all have.

    Returns:
        `scores_K`, descending among the rows that one search found, and `rows_K`.
    """
    found_scores: list[np.ndarray] = []
    found_rows: list[np.ndarray] = []
    groups: set[int] = set()
    for scores_K, rows_K in _deeper(search, depth):
        if is_usable is not None and len(rows_K):
            is_usable_K = is_usable(scores_K, rows_K)
            scores_K, rows_K = scores_K[is_usable_K], rows_K[is_usable_K]
        is_below = options.min_score is not None and len(scores_K) > 0 and scores_K[-1] < options.min_score
        is_kept: list[np.ndarray] = []
        if representatives is not None and len(rows_K):
            is_kept.append(_firsts(representatives(rows_K), groups))
        if options.min_score is not None:
            is_kept.append(scores_K >= options.min_score)
        if options.min_zscore is not None and zscores is not None and len(rows_K):
            is_kept.append(zscores(scores_K, rows_K) >= options.min_zscore)
        if is_kept:
            kept_K = np.logical_and.reduce(is_kept)
            scores_K, rows_K = scores_K[kept_K], rows_K[kept_K]
        found_scores.append(scores_K)
        found_rows.append(rows_K)
        if is_below or sum(map(len, found_rows)) >= options.depth:
            break
    return np.concatenate(found_scores)[: options.depth], np.concatenate(found_rows)[: options.depth]


def _firsts(groups_K: np.ndarray, known: set[int]) -> np.ndarray:
    """Marks the first row of each group that is not in `known`, and adds the groups to `known`."""
    is_first_K = np.zeros(len(groups_K), bool)
    for place, group in enumerate(groups_K.tolist()):
        is_first_K[place] = group not in known
        known.add(group)
    return is_first_K


def _deeper(search: Search, depth: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the new rows of ever deeper searches, until there are no more."""
    given = np.zeros(0, np.int64)
    while True:
        scores_K, rows_K = search(depth)
        is_new = ~np.isin(rows_K, given) if len(given) else slice(None)
        yield scores_K[is_new], rows_K[is_new]
        if len(rows_K) < depth:
            return
        given = np.union1d(given, rows_K)
        depth *= _DEEPER


def diverse(scores_M: np.ndarray, emb_MD: np.ndarray, diversity: float, count: int) -> np.ndarray:
    """Orders rows by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).

    The next row is always the one with the highest `(1 − diversity) · score − diversity · similarity`, where similarity
    is the largest to a row chosen before; ties keep the given order.

    Args:
        scores_M: relevance.
        emb_MD: float32 of unit length.
        diversity: from 0 (by score) to 1.
        count: number of rows to choose.

    Returns:
        The positions of the chosen rows, int64, at most `count`.
    """
    order: list[int] = []
    similarity_M = np.full(len(scores_M), -np.inf, np.float32)
    left_M = np.ones(len(scores_M), bool)
    for _ in range(min(count, len(scores_M))):
        penalty_M = np.where(np.isfinite(similarity_M), similarity_M, 0)
        marginal_M = np.where(left_M, (1 - diversity) * scores_M - diversity * penalty_M, -np.inf)
        chosen = int(np.argmax(marginal_M))
        order.append(chosen)
        left_M[chosen] = False
        similarity_M = np.maximum(similarity_M, emb_MD @ emb_MD[chosen])
    return np.array(order, np.int64)


def by_column(values: Sequence[object], *, descending: bool) -> np.ndarray:
    """Orders rows by a column: their positions, int64. Missing values come last; ties keep their order.

    Parts may have different types in a column: numbers come before dates and other types, which come by their names,
    and text is last. Lists are ordered by their text.
    """
    places = [place for place, value in enumerate(values) if value is not None and value == value]
    places.sort(key=lambda place: _order(values[place]), reverse=descending)
    present = set(places)
    return np.array([*places, *(place for place in range(len(values)) if place not in present)], np.int64)


def _order(value: object) -> tuple[int, str, Any]:
    if isinstance(value, (int, float, Decimal)):
        return 0, "", value
    if isinstance(value, (date, time, timedelta)):  # dates and timestamps, with and without a zone, do not compare
        zone = "" if getattr(value, "tzinfo", None) is None else " with a zone"
        return 1, type(value).__name__ + zone, value
    return 2, "", value if isinstance(value, str) else as_text(value)


def with_aesthetic(scores_M: np.ndarray, values: Sequence[object], weight: float) -> np.ndarray:
    """Adds `weight` times a tenth of LAION's aesthetic scores (1 to 10) to scores; missing ones count as the mean."""
    known = [float(value) for value in values if isinstance(value, (int, float)) and value == value]
    average = float(np.mean(known)) if known else 0.0
    aesthetic_M = [float(v) if isinstance(v, (int, float)) and v == v else average for v in values]
    return scores_M + weight * np.array(aesthetic_M, np.float32) / 10

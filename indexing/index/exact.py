"""Exact search: every row is compared with every query.

Shapes: N rows, D dimension, Q queries, K results.
"""

from __future__ import annotations

import numpy as np

from ..store.vectors import BLOCK, Vectors

# Pairs of queries and rows that are compared at a time: 64 MB of scores.
_SCORES = 1 << 24


def exact_search(
    vectors: Vectors,
    queries_QD: np.ndarray,
    k: int,
    *,
    start: int = 0,
    end: int | None = None,
    deleted: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of highest inner product among those from `start` to `end`, block by block.

    Args:
        vectors: all rows.
        queries_QD: float32.
        k: number of results.
        start: the first row to compare.
        end: the row after the last one to compare; by default all.
        deleted: rows to leave out, ascending.

    Returns:
        `scores_QK` float32, descending, and `rows_QK` int64, padded with −inf and −1 where there are fewer than k
        rows. Rows with equal scores are in ascending order.
    """
    scores_QK = np.full((len(queries_QD), k), -np.inf, np.float32)
    rows_QK = np.full((len(queries_QD), k), -1, np.int64)
    step = max(1, _SCORES // BLOCK)
    for first, emb_ND in vectors.blocks(start, end):
        gone = _within(deleted, first, len(emb_ND))
        for low in range(0, len(queries_QD), step):
            some = slice(low, low + step)
            block_QN = queries_QD[some] @ emb_ND.T
            block_QN[:, gone] = -np.inf
            scores_QK[some], rows_QK[some] = _merged(scores_QK[some], rows_QK[some], block_QN, first)
    return scores_QK, rows_QK


def exact_search_among(
    vectors: Vectors, queries_QD: np.ndarray, k: int, rows_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of highest inner product among some ascending rows; results as those of `exact_search`."""
    scores_QK = np.full((len(queries_QD), k), -np.inf, np.float32)
    rows_QK = np.full((len(queries_QD), k), -1, np.int64)
    for low in range(0, len(rows_N), BLOCK):
        some_N = rows_N[low : low + BLOCK]
        block_QN = vectors.scores(queries_QD, some_N)
        both = np.hstack([scores_QK, block_QN]), np.hstack([rows_QK, np.broadcast_to(some_N, block_QN.shape)])
        scores_QK, rows_QK = best(*both, k)
    return scores_QK, rows_QK


def best(scores_QN: np.ndarray, rows_QN: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of N candidates for each query: scores descending, equal scores by ascending row."""
    if scores_QN.shape[1] > 4 * k:  # a partial sort first; it keeps enough to settle ties below
        threshold_Q1 = -np.partition(-scores_QN, k - 1, axis=1)[:, k - 1 : k]
        kept = int((scores_QN >= threshold_Q1).sum(axis=1).max())
        top = np.argpartition(-scores_QN, kept - 1, axis=1)[:, :kept]
        scores_QN, rows_QN = np.take_along_axis(scores_QN, top, 1), np.take_along_axis(rows_QN, top, 1)
    order = np.lexsort((rows_QN, -scores_QN), axis=1)[:, :k]
    return np.take_along_axis(scores_QN, order, 1), np.take_along_axis(rows_QN, order, 1)


def _merged(
    scores_QK: np.ndarray, rows_QK: np.ndarray, block_QN: np.ndarray, first: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best of the results so far and of a block whose first row is `first`.

    After the first blocks, few scores reach the results so far, and only those are sorted.
    """
    k = scores_QK.shape[1]
    for query, scores_N in enumerate(block_QN):
        local = np.flatnonzero(scores_N > scores_QK[query, -1])
        if len(local) > 4 * k:  # the first blocks
            threshold = -np.partition(-scores_N[local], k - 1)[k - 1]
            local = local[scores_N[local] >= threshold]
        if len(local):
            scores = np.concatenate([scores_QK[query], scores_N[local]])
            rows = np.concatenate([rows_QK[query], local + first])
            order = np.lexsort((rows, -scores))[:k]
            scores_QK[query], rows_QK[query] = scores[order], rows[order]
    return scores_QK, rows_QK


def _within(rows: np.ndarray | None, first: int, count: int) -> np.ndarray:
    """Those of some ascending rows that lie in a block, relative to its start."""
    if rows is None:
        return np.zeros(0, np.int64)
    low, high = np.searchsorted(rows, (first, first + count))
    return rows[low:high] - first

"""Checks the synthetic vectors: how far the exact results of a query are spread over the lists of an index.

Shapes: N rows, D dimension, Q queries, K results, L lists.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...indexing.store.vectors import Vectors
from .vectors import Bench


def shares_found(bench: Bench, vectors: Vectors, num_lists: int = 2048, nprobe: int = 16) -> dict[str, Any]:
    """Measures what the recipe was chosen by.

    Args:
        bench: the gallery and its queries.
        vectors: the gallery's vectors.
        num_lists: number of lists to divide the rows into.
        nprobe: number of nearest lists; five times as many are measured, too.

    Returns:
        For each kind of queries: the share of the exact results that are in the nearest lists, and the mean cosine of
        queries and rows.
    """
    import faiss

    rows = np.sort(np.random.default_rng(1).choice(len(vectors), min(len(vectors), 30 * num_lists), replace=False))
    kmeans = faiss.Kmeans(vectors.dim, num_lists, niter=8, spherical=True, seed=1, min_points_per_centroid=1)
    kmeans.train(vectors.rows(rows))
    lists = faiss.IndexFlatIP(vectors.dim)
    lists.add(kmeans.centroids)  # type: ignore[reportArgumentType]
    list_N = np.concatenate([lists.search(emb_ND, 1)[1][:, 0] for _, emb_ND in vectors.blocks()])
    found: dict[str, Any] = {}
    for kind in bench.kinds:
        queries_QD, exact_QK = np.load(bench.queries(kind)), np.load(bench.exact(kind))
        order_QL = lists.search(queries_QD, num_lists)[1]
        rank_QL = np.empty_like(order_QL)
        np.put_along_axis(rank_QL, order_QL, np.arange(num_lists)[None].repeat(len(queries_QD), 0), axis=1)
        rank_QK = np.take_along_axis(rank_QL, list_N[exact_QK], axis=1)
        found[kind] = {f"nprobe {n}": round(float((rank_QK < n).mean()), 3) for n in (nprobe, 5 * nprobe)}
        found[kind]["mean cosine"] = round(float((queries_QD @ vectors.rows(rows[:10_000]).T).mean()), 3)
    return found

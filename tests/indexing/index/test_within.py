"""Search among the rows of a filter, against exact search among the same rows."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from galleries import add_rows, few_queries, new_gallery

from diantu.indexing.build.job import build_index
from diantu.indexing.build.request import IndexRequest
from diantu.indexing.index import within
from diantu.indexing.index.effort import Strategy
from diantu.indexing.index.exact import exact_search_among
from diantu.indexing.index.opened import GalleryIndex
from diantu.indexing.store.rowset import RowSet
from diantu.indexing.store.snapshot import Snapshot
from diantu.indexing.upkeep.deletion import delete

DIM, NUM_ROWS, NUM_LATE = 16, 6000, 50
FACTORIES = ("IVF64,Flat", "IVF64,PQ8x4fs", "OPQ2_16,IVF64,PQ8x4fs", "HNSW16", "Flat")


def clustered(rng: np.random.Generator, count: int) -> np.ndarray:
    centres = np.random.default_rng(7).standard_normal((40, DIM))
    emb_ND = centres[rng.integers(40, size=count)] + 0.6 * rng.standard_normal((count, DIM))
    return (emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module", params=FACTORIES)
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GalleryIndex:
    """Most rows are in the index, some came later; of both some are deleted."""
    root, rng = new_gallery(tmp_path_factory.mktemp("within") / "g", DIM), np.random.default_rng(1)
    add_rows(root, clustered(rng, NUM_ROWS))
    with few_queries():
        build_index(root, None, request=IndexRequest(factory=request.param))
    add_rows(root, clustered(rng, NUM_LATE))
    delete(root, keys=[f"0-{row}" for row in range(0, NUM_ROWS, 7)] + [f"1-{row}" for row in range(0, NUM_LATE, 7)])
    found = GalleryIndex.open(Snapshot.read(root))
    assert len(found.snapshot.deleted) == len(range(0, NUM_ROWS, 7)) + len(range(0, NUM_LATE, 7))
    return found


def masks(index: GalleryIndex) -> dict[str, np.ndarray]:
    """Filters that have nothing to do with the query, and ones that lie to one side of the vectors."""
    rng, num_rows = np.random.default_rng(2), len(index.vectors)
    sides_N = index.vectors.rows(np.arange(num_rows))[:, 0]
    order_N = np.argsort(np.argsort(sides_N)) / num_rows
    found = {"none": np.zeros(num_rows, bool), "all": np.ones(num_rows, bool), "late": np.arange(num_rows) >= NUM_ROWS}
    found["deleted"] = np.isin(np.arange(num_rows), index.snapshot.deleted)
    found["one"] = np.arange(num_rows) == 8
    for share in (0.005, 0.03, 0.2, 0.6):
        found[f"{share} at random"] = rng.random(num_rows) < share
        found[f"{share} on one side"] = order_N < share
    return found


@pytest.mark.parametrize("few", [1, 5_000])
@pytest.mark.parametrize("effort", ["fast", "balanced", "exact", 0.99])
def test_k_rows_are_found_and_most_of_them_are_the_exact_ones(
    index: GalleryIndex, few: int, effort: str | float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(within, "_FEW", few)
    queries_QD = clustered(np.random.default_rng(3), 30)
    for name, mask_N in masks(index).items():
        rows_N = np.setdiff1d(np.flatnonzero(mask_N), index.snapshot.deleted)
        filtered = within.FilterCache(index).within(RowSet.of_mask(mask_N))
        found = filtered.search(queries_QD, 10, effort=effort, kind="image")
        k = min(10, len(rows_N))
        assert found.rows_QK.shape == found.scores_QK.shape == (30, k), name
        assert np.isin(found.rows_QK, rows_N).all(), name
        assert len(found.strategies) == 30
        exact_QK, exact_rows_QK = exact_search_among(index.vectors, queries_QD, k, rows_N)
        shares = [len(set(a) & set(b)) / k for a, b in zip(found.rows_QK, exact_rows_QK, strict=True) if k]
        assert not shares or np.mean(shares) >= (1 if effort == "exact" else 0.9), name
        assert (np.diff(found.scores_QK, axis=1) <= 0).all()
        np.testing.assert_allclose(found.scores_QK[:, :1], exact_QK[:, :1], atol=0.2)
        for scores_K, rows_K, query_D in zip(found.scores_QK, found.rows_QK, queries_QD, strict=True):
            np.testing.assert_allclose(scores_K, index.vectors.rows(rows_K) @ query_D, atol=1e-5)
            assert len(set(rows_K.tolist())) == k


def test_strategies_say_what_was_done(index: GalleryIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(within, "_FEW", 100)
    query_1D = clustered(np.random.default_rng(3), 1)
    found = {name: within.FilterCache(index).within(RowSet.of_mask(mask_N)) for name, mask_N in masks(index).items()}
    assert found["late"].search(query_1D, 10).strategies == (Strategy(name="exact", rows=42),)
    assert found["none"].search(query_1D, 10).strategies == (Strategy(name="exact", rows=0),)
    (strategy,) = found["0.6 at random"].search(query_1D, 10, kind="image").strategies
    if index.report and index.report.spec.factory in ("Flat", "HNSW16"):
        assert strategy.name == "exact"
    else:
        assert strategy.name == "index_lists"
        assert strategy.breadth
        assert strategy.candidates


def test_a_row_set_is_prepared_once_and_forgotten_with_it(index: GalleryIndex) -> None:
    rows, filters = RowSet.of_mask(np.ones(len(index.vectors), bool)), within.FilterCache(index)
    prepared = weakref.ref(filters.within(rows))
    assert prepared() is filters.within(rows)
    del rows
    gc.collect()
    assert prepared() is None

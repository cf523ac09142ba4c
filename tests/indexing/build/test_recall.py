"""Approximate indexes reach the recall that was asked for, with exact scores."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from galleries import add_rows, new_gallery
from indexes import DIM, FACTORY, clustered, exact, opened, share

from diantu.indexing.build.job import build_index
from diantu.indexing.build.request import IndexRequest
from diantu.indexing.index.opened import Breadth
from diantu.indexing.index.report import Sampled
from diantu.indexing.upkeep.deletion import delete


def test_the_recall_asked_for_is_reached_on_queries_not_seen(built: Path) -> None:
    queries_QD = clustered(1234, 500)
    index = opened(built)
    for k in (10, 100):
        expected = exact(built, queries_QD, k)
        for effort in (0.8, 0.9, 0.95, 0.99):
            found = index.search(queries_QD, k, effort=effort, kind="image")[1]
            assert share(found, expected) == pytest.approx(effort, abs=0.02) or share(found, expected) > effort
        assert share(index.search(queries_QD, k, effort="exact")[1], expected) == 1.0
    cheap, dear = (index.efforts.breadth(effort, "image", 10) for effort in (0.8, 0.99))
    assert cheap
    assert dear
    assert (cheap.nprobe, cheap.candidates) < (dear.nprobe, dear.candidates)


def test_scores_are_exact_although_codes_are_coarse(built: Path) -> None:
    index = opened(built)
    queries_QD = clustered(7, 20)
    scores_QK, rows_QK = index.search(queries_QD, 5, effort=0.8)
    for query, (scores, rows) in enumerate(zip(scores_QK, rows_QK, strict=True)):
        np.testing.assert_allclose(scores, index.vectors.rows(rows) @ queries_QD[query], atol=1e-6)
        assert (np.diff(scores) <= 0).all()


def test_all_rows_are_found_if_the_probed_lists_hold_too_few(built: Path) -> None:
    index = opened(built)
    scores_QK, rows_QK = index.search_at(clustered(8, 3), 6000, Breadth(nprobe=1, candidates=10))
    assert all(sorted(rows) == list(range(6000)) for rows in rows_QK.tolist())
    assert np.isfinite(scores_QK).all()


def test_the_report_says_what_is_delivered(built: Path) -> None:
    report = json.loads((built / "index" / "hf_x" / "index.json").read_text())
    delivers = report["delivers"]["image"]
    assert delivers["recall@10"] == pytest.approx(0.95, abs=0.03)
    low, high = delivers["interval"]["recall@10"]
    assert low < delivers["recall@10"] < high
    assert report["spec"]["factory"] == FACTORY
    assert report["bytes"] == (built / "index" / "hf_x" / "index.faiss").stat().st_size
    assert {point["target"] for point in report["tuning"]["image"]} == {0.8, 0.9, 0.95, 0.98, 0.99}
    assert report["queries"]["image"]["source"] == "held-out rows of the gallery"


def test_the_same_gallery_gives_the_same_index(gallery: Path) -> None:
    folder = gallery / "index" / "hf_x"
    before, report = (folder / "index.faiss").read_bytes(), json.loads((folder / "index.json").read_text())
    build_index(gallery, None, request=IndexRequest(rebuild=True))
    assert (folder / "index.faiss").read_bytes() == before
    assert json.loads((folder / "index.json").read_text())["tuning"] == report["tuning"]


def test_texts_are_tuned_apart_from_images(gallery: Path, tmp_path: Path) -> None:
    """Queries far from the rows need more lists for the same recall, and get them."""
    rng = np.random.default_rng(3)
    texts_QD = clustered(5, 600) + 0.35 * rng.standard_normal((600, DIM)).astype(np.float32)
    texts_QD /= np.linalg.norm(texts_QD, axis=1, keepdims=True)
    np.save(tmp_path / "queries.npy", texts_QD[:400])
    report = build_index(gallery, None, request=IndexRequest(tune_queries=tmp_path / "queries.npy"))
    assert report.queries["text"] == Sampled(count=400, source="the file queries.npy")
    index = opened(gallery)
    text, image = (index.efforts.breadth(0.95, kind, 10) for kind in ("text", "image"))
    assert text
    assert image
    assert text.nprobe > image.nprobe
    found = index.search(texts_QD[400:], 10, kind="text")[1]
    assert share(found, exact(gallery, texts_QD[400:], 10)) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("factory", ["HNSW16", "OPQ2,IVF32,PQ8x4fsr", "RR32,IVF32,RaBitQfs", "SQ8", "IVF32_HNSW8,SQ8"])
def test_other_factories_work_the_same_way(tmp_path: Path, factory: str, few_queries: None) -> None:
    root = new_gallery(tmp_path / "g", DIM)
    add_rows(root, clustered(0, 1500))
    build_index(root, None, request=IndexRequest(factory=factory))
    delete(root, keys=[f"0-{i}" for i in range(0, 1500, 3)])
    add_rows(root, clustered(1, 100))
    queries_QD = clustered(2, 100)
    found = opened(root).search(queries_QD, 10, kind="image")[1]
    assert not np.isin(found, opened(root).snapshot.deleted).any()
    assert share(found, exact(root, queries_QD, 10)) > 0.9


def test_a_graph_is_tuned_as_it_is_searched(tmp_path: Path) -> None:
    """The candidates of a graph are as many as its search is wide, so tuning must not measure with others."""
    root = new_gallery(tmp_path / "g", DIM)
    add_rows(root, clustered(0, 1200, around=5))
    report = build_index(root, None, request=IndexRequest(factory="HNSW4"))
    points = {point.target: point for point in report.tuning["image"] if point.k == 10}
    assert points[0.8].nprobe < points[0.98].nprobe
    assert report.delivers["image"].recall[10] == pytest.approx(points[0.95].recall, abs=0.03)


def test_more_results_than_were_tuned_for_are_searched_more_broadly(built: Path) -> None:
    index = opened(built)
    hundred, thousand = (index.efforts.breadth(0.9, "image", k) for k in (100, 1000))
    assert hundred
    assert thousand
    assert thousand.candidates == 10 * hundred.candidates
    assert thousand.nprobe > hundred.nprobe


def test_rows_without_a_vector_are_no_queries(tmp_path: Path) -> None:
    root = new_gallery(tmp_path / "g", DIM)
    emb_ND = clustered(0, 1500)
    emb_ND[::10] = 0
    add_rows(root, emb_ND)
    report = build_index(root, None, request=IndexRequest(factory="IVF32,SQ8"))
    assert report.queries["image"].count < 1500
    assert {(point.k, point.target) for point in report.tuning["image"]} >= {(100, 0.99), (10, 0.99)}


def test_threads_that_search_first_at_once_find_the_same(gallery: Path) -> None:
    queries_QD = clustered(9, 16)
    expected = opened(gallery).search(queries_QD, 10)[1]
    index, together = opened(gallery), threading.Barrier(16, timeout=60)

    def ask(query: int) -> np.ndarray:
        together.wait()
        return index.search(queries_QD[query : query + 1], 10)[1]

    with ThreadPoolExecutor(16) as pool:
        np.testing.assert_array_equal(np.concatenate(list(pool.map(ask, range(16)))), expected)

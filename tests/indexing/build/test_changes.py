"""Rows that are added or deleted after the build, and settings that change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from galleries import add_rows, new_gallery
from indexes import DIM, FACTORY, clustered, coarse_centres, exact, opened, share, unit_vectors

from diantu.indexing.build import plan
from diantu.indexing.build.job import build_index, plan_index
from diantu.indexing.build.request import IndexRequest
from diantu.indexing.upkeep.deletion import delete

pytestmark = pytest.mark.usefixtures("few_queries")


def keeps_training(root: Path, request: IndexRequest | None = None) -> bool:
    """Whether a build with these settings would keep the index as it was trained."""
    reason = plan_index(root, request or IndexRequest()).reason
    return reason == "no row is new" or reason.endswith(" are folded in without training")


def test_new_rows_are_found_at_once_and_folded_in_without_training(gallery: Path) -> None:
    centres = coarse_centres(gallery)
    add_rows(gallery, clustered(50, 700))
    queries_QD = clustered(50, 700)[:50]
    index = opened(gallery)
    assert index.num_indexed == 6000
    assert (index.search(queries_QD, 1)[1][:, 0] == np.arange(6000, 6050)).mean() > 0.95
    assert keeps_training(gallery)
    report = build_index(gallery, None)
    assert (report.num_rows, report.training.rows, report.spec.factory) == (6700, 6000, FACTORY)
    assert 0 <= abs(report.training.drift) <= 0.05
    np.testing.assert_array_equal(coarse_centres(gallery), centres)
    index = opened(gallery)
    assert index.num_indexed == 6700
    assert share(index.search(queries_QD, 10, kind="image")[1], exact(gallery, queries_QD, 10)) > 0.9


def test_rows_that_drift_away_cause_a_rebuild(gallery: Path, caplog: pytest.LogCaptureFixture) -> None:
    centres = coarse_centres(gallery)
    rng = np.random.default_rng(0)
    strange_ND = rng.standard_normal((4000, DIM)).astype(np.float32)
    add_rows(gallery, strange_ND / np.linalg.norm(strange_ND, axis=1, keepdims=True))
    with caplog.at_level("INFO", logger="diantu"):
        report = build_index(gallery, None)
    assert "drifted" in caplog.text
    assert (report.training.rows, report.training.drift) == (10_000, 0.0)
    assert report.spec.factory == FACTORY
    assert not np.array_equal(coarse_centres(gallery), centres)


def test_rows_of_the_same_distribution_are_no_drift_although_not_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Centres are nearer to the rows that they were trained on than to others of the same distribution."""
    monkeypatch.setattr(plan, "_TRAIN_AT_LEAST", 0)  # 39 rows per list, where the difference is largest
    root = new_gallery(tmp_path / "g", 8)
    emb_ND = unit_vectors(0, 3200, 8)
    add_rows(root, emb_ND[:2900])
    assert build_index(root, None, request=IndexRequest(factory="IVF64,SQ8")).spec.train_rows == 2496
    add_rows(root, emb_ND[2900:])
    report = build_index(root, None)
    assert report.training.rows == 2900
    assert report.training.drift < 0.02


def test_a_gallery_that_outgrew_its_index_gets_a_new_one(tmp_path: Path) -> None:
    root = new_gallery(tmp_path / "g", DIM)
    add_rows(root, clustered(0, 200))
    build_index(root, None, request=IndexRequest(factory="IVF4,PQ16x4fsr"))
    add_rows(root, clustered(1, 700))
    assert not keeps_training(root)
    assert build_index(root, None).training.rows == 900


def test_other_settings_cause_a_rebuild(gallery: Path) -> None:
    assert keeps_training(gallery)  # as before
    assert not keeps_training(gallery, IndexRequest(rebuild=True))
    assert not keeps_training(gallery, IndexRequest(factory="IVF32,SQ8"))
    report = build_index(gallery, None, request=IndexRequest(factory="IVF32,SQ8", target_recall=0.87))
    assert report.spec.factory == "IVF32,SQ8"
    assert report.delivers["image"].recall[10] > 0.85
    assert 0.87 in {point.target for point in report.tuning["image"]}
    index = opened(gallery)
    assert index.efforts.breadth("balanced", "image", 10) == index.efforts.breadth(0.87, "image", 10)


def test_a_factory_and_a_budget_replace_each_other(gallery: Path) -> None:
    assert plan_index(gallery, IndexRequest(memory_budget=10**9)).spec.factory == "Flat"
    build_index(gallery, None, request=IndexRequest(memory_budget=300_000))
    assert plan_index(gallery, IndexRequest(factory="IVF32,SQ8")).spec.factory == "IVF32,SQ8"


def test_a_budget_holds_for_rows_folded_in(tmp_path: Path) -> None:
    root = new_gallery(tmp_path / "g", DIM)
    add_rows(root, clustered(0, 3000))
    before = build_index(root, None, request=IndexRequest(memory_budget=160_000))
    add_rows(root, clustered(1, 4000))
    fresh = plan_index(root, IndexRequest())
    assert fresh.spec.factory != before.spec.factory
    assert fresh.ram_bytes <= 160_000


def test_a_seed_is_remembered(gallery: Path) -> None:
    build_index(gallery, None, request=IndexRequest(seed=3))
    assert keeps_training(gallery)
    assert not keeps_training(gallery, IndexRequest(seed=4))


def test_deleted_rows_never_come_back(gallery: Path) -> None:
    queries_QD = clustered(9, 40)
    first = opened(gallery).search(queries_QD, 20, kind="image")[1]
    gone = np.unique(first)
    before = opened(gallery)
    delete(gallery, keys=[f"{row // 2000}-{row % 2000}" for row in gone.tolist()])
    for effort in ("fast", "balanced", 0.99, "exact"):
        found = opened(gallery).search(queries_QD, 20, effort=effort, kind="image")[1]
        assert not np.isin(found, gone).any()
    assert share(found, exact(gallery, queries_QD, 20)) == 1.0
    np.testing.assert_array_equal(before.search(queries_QD, 20, kind="image")[1], first)  # keeps its version
    build_index(gallery, None)
    assert not np.isin(opened(gallery).search(queries_QD, 20, kind="image")[1], gone).any()


def test_a_gallery_without_any_row_left_can_be_indexed(gallery: Path) -> None:
    keys = [f"{part}-{row}" for part in range(3) for row in range(2000)]
    delete(gallery, keys=keys)
    assert build_index(gallery, None).spec.factory == "Flat"
    assert opened(gallery).search(clustered(0, 2), 5)[1].shape == (2, 0)

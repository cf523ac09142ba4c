"""Approximate indexes: recall that was asked for, rows that come and go, jobs that are killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from galleries import add_rows, new_gallery

from diantu.datasets import InputError
from diantu.indexing.build.job import build_index, plan_index
from diantu.indexing.build.request import IndexRequest
from diantu.indexing.index.opened import Breadth, GalleryIndex
from diantu.indexing.index.report import Sampled
from diantu.indexing.measure.evaluate import evaluate
from diantu.indexing.store.snapshot import Snapshot
from diantu.indexing.upkeep.deletion import delete

DIM = 32
FACTORY = "IVF64,PQ16x4fsr"


def clustered(seed: int, count: int, *, around: float = 0.5) -> np.ndarray:
    """Unit vectors around 40 centres, as those of pictures are."""
    centres_CD = np.random.default_rng(99).standard_normal((40, DIM))
    rng = np.random.default_rng(seed)
    emb_ND = centres_CD[rng.integers(0, 40, count)] + around * rng.standard_normal((count, DIM))
    return (emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True)).astype(np.float32)


def unit_vectors(seed: int, count: int) -> np.ndarray:
    """Without clusters: here training on a row matters most."""
    emb_ND = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6000 rows in three parts, indexed by lists and codes."""
    root = new_gallery(tmp_path_factory.mktemp("built") / "g", DIM)
    for part in range(3):
        add_rows(root, clustered(part, 2000))
    build_index(root, None, request=IndexRequest(factory=FACTORY))
    return root


@pytest.fixture
def gallery(built: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(built, tmp_path / "g"))


def opened(root: Path) -> GalleryIndex:
    return GalleryIndex.open(Snapshot.read(root))


def exact(root: Path, queries_QD: np.ndarray, k: int) -> np.ndarray:
    """Brute force in float64, deleted rows left out."""
    index = opened(root)
    emb_ND = index.vectors.rows(np.arange(len(index.vectors))).astype(np.float64)
    scores_QN = queries_QD.astype(np.float64) @ emb_ND.T
    scores_QN[:, index.snapshot.deleted] = -np.inf
    return np.argsort(-scores_QN, axis=1, kind="stable")[:, :k]


def share(found_QK: np.ndarray, expected_QK: np.ndarray) -> float:
    pairs = zip(found_QK, expected_QK, strict=True)
    return float(np.mean([len(np.intersect1d(found, expected)) for found, expected in pairs])) / expected_QK.shape[1]


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


def test_scores_are_exact_whatever_the_codes(built: Path) -> None:
    index = opened(built)
    queries_QD = clustered(7, 20)
    scores_QK, rows_QK = index.search(queries_QD, 5, effort=0.8)
    for query, (scores, rows) in enumerate(zip(scores_QK, rows_QK, strict=True)):
        np.testing.assert_allclose(scores, index.vectors.rows(rows) @ queries_QD[query], atol=1e-6)
        assert (np.diff(scores) <= 0).all()


def test_all_rows_are_given_where_the_lists_looked_at_hold_too_few(built: Path) -> None:
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


def test_texts_are_tuned_apart_from_pictures(gallery: Path, tmp_path: Path) -> None:
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


def test_new_rows_are_found_at_once_and_folded_in_without_training(gallery: Path) -> None:
    centres = _centres(gallery)
    add_rows(gallery, clustered(50, 700))
    queries_QD = clustered(50, 700)[:50]
    index = opened(gallery)
    assert index.num_indexed == 6000
    assert (index.search(queries_QD, 1)[1][:, 0] == np.arange(6000, 6050)).mean() > 0.95
    assert "folded in" in plan_index(gallery, IndexRequest()).reason
    report = build_index(gallery, None)
    assert (report.num_rows, report.training.rows, report.spec.factory) == (6700, 6000, FACTORY)
    assert 0 <= abs(report.training.drift) <= 0.05
    np.testing.assert_array_equal(_centres(gallery), centres)
    index = opened(gallery)
    assert index.num_indexed == 6700
    assert share(index.search(queries_QD, 10, kind="image")[1], exact(gallery, queries_QD, 10)) > 0.9


def test_rows_that_drift_away_make_the_index_anew(gallery: Path, caplog: pytest.LogCaptureFixture) -> None:
    centres = _centres(gallery)
    rng = np.random.default_rng(0)
    strange_ND = rng.standard_normal((4000, DIM)).astype(np.float32)
    add_rows(gallery, strange_ND / np.linalg.norm(strange_ND, axis=1, keepdims=True))
    with caplog.at_level("INFO", logger="diantu"):
        report = build_index(gallery, None)
    assert "drifted" in caplog.text
    assert (report.training.rows, report.training.drift) == (10_000, 0.0)
    assert report.spec.factory == FACTORY
    assert not np.array_equal(_centres(gallery), centres)


def test_a_gallery_that_outgrew_its_index_gets_a_new_one(tmp_path: Path) -> None:
    root = new_gallery(tmp_path / "g", DIM)
    add_rows(root, clustered(0, 200))
    build_index(root, None, request=IndexRequest(factory="IVF4,PQ16x4fsr"))
    add_rows(root, clustered(1, 700))
    assert "folded in" not in plan_index(root, IndexRequest()).reason
    assert build_index(root, None)["training"]["rows"] == 900


def test_what_is_asked_for_anew_is_built_anew(gallery: Path) -> None:
    assert "folded in" in plan_index(gallery, IndexRequest()).reason  # as before
    assert "folded in" not in plan_index(gallery, IndexRequest(rebuild=True)).reason
    assert "folded in" not in plan_index(gallery, IndexRequest(factory="IVF32,SQ8")).reason
    report = build_index(gallery, None, request=IndexRequest(factory="IVF32,SQ8", target_recall=0.87))
    assert report.spec.factory == "IVF32,SQ8"
    assert report.delivers["image"].recall[10] > 0.85
    assert 0.87 in {point.target for point in report.tuning["image"]}
    index = opened(gallery)
    assert index.efforts.breadth("balanced", "image", 10) == index.efforts.breadth(0.87, "image", 10)


@pytest.mark.parametrize("factory", ["HNSW16", "OPQ8,IVF32,PQ8x4fsr", "RR32,IVF32,RaBitQfs", "SQ8", "IVF32_HNSW8,SQ8"])
def test_other_factories_work_the_same_way(tmp_path: Path, factory: str) -> None:
    root = new_gallery(tmp_path / "g", DIM)
    add_rows(root, clustered(0, 1500))
    build_index(root, None, request=IndexRequest(factory=factory))
    delete(root, keys=[f"0-{i}" for i in range(0, 1500, 3)])
    add_rows(root, clustered(1, 100))
    queries_QD = clustered(2, 100)
    found = opened(root).search(queries_QD, 10, kind="image")[1]
    assert not np.isin(found, opened(root).deleted).any()
    assert share(found, exact(root, queries_QD, 10)) > 0.9


def test_a_graph_is_tuned_as_it_is_searched(tmp_path: Path) -> None:
    """A search of a graph is as wide as the number of candidates, so those must not be what is measured."""
    root = new_gallery(tmp_path / "g", DIM)
    add_rows(root, clustered(0, 6000, around=5))
    report = build_index(root, None, request=IndexRequest(factory="HNSW4"))
    points = {point.target: point for point in report.tuning["image"] if point.k == 10}
    assert points[0.8]["nprobe"] < points[0.98]["nprobe"]
    assert report.delivers["image"].recall[10] == pytest.approx(points[0.95]["recall"], abs=0.03)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("HNSW16,PQ8", "no inner product"),
        ("IVF8,ITQ,SH", "no inner product"),
        ("PQ8", "cannot leave out deleted rows"),
        ("nonsense", "does not know the factory"),
    ],
)
def test_factories_of_another_metric_are_refused(tmp_path: Path, factory: str, message: str) -> None:
    root = new_gallery(tmp_path / "g", DIM)
    add_rows(root, clustered(0, 100))
    with pytest.raises(InputError, match=message):
        build_index(root, None, request=IndexRequest(factory=factory))


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


def test_a_reader_keeps_the_index_that_it_opened(gallery: Path) -> None:
    queries_QD = clustered(9, 40)
    before = opened(gallery)
    found = before.search(queries_QD, 10, kind="image")[1]
    add_rows(gallery, queries_QD)
    build_index(gallery, None, request=IndexRequest(factory="IVF16,SQ8"))
    np.testing.assert_array_equal(before.search(queries_QD, 10, kind="image")[1], found)
    assert (opened(gallery).search(queries_QD, 1, effort="exact")[1][:, 0] >= 6000).all()


def test_an_index_that_does_not_fit_its_report_does_not_count(gallery: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As after a kill between the two renames."""
    queries_QD = clustered(9, 5)
    path = gallery / "index" / "hf_x" / "index.json"
    old = path.read_bytes()
    build_index(gallery, None, request=IndexRequest(factory="IVF16,SQ8"))
    path.write_bytes(old)
    index = opened(gallery)
    assert "every row is compared" in caplog.text
    assert share(index.search(queries_QD, 10)[1], exact(gallery, queries_QD, 10)) == 1.0
    report = build_index(gallery, None)  # what the file holds has nothing to do with the report: nothing is folded in
    assert (report.num_rows, report.spec.factory) == (6000, FACTORY)
    assert faiss_index(gallery).nlist == 64


def test_a_truncated_index_does_not_count(gallery: Path, caplog: pytest.LogCaptureFixture) -> None:
    queries_QD = clustered(9, 5)
    path = gallery / "index" / "hf_x" / "index.faiss"
    path.write_bytes(path.read_bytes()[:-1])
    assert share(opened(gallery).search(queries_QD, 10)[1], exact(gallery, queries_QD, 10)) == 1.0
    assert "every row is compared" in caplog.text
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"index\.faiss is missing or damaged; build the index again"):
        opened(gallery)


def test_damage_inside_an_index_is_told_by_the_first_search_and_mended_by_the_next_build(
    gallery: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Opening reads a file's first bytes alone, and those are as they should be here."""
    path = gallery / "index" / "hf_x" / "index.faiss"
    data = path.read_bytes()
    path.write_bytes(data[:24] + bytes(len(data) - 24))
    index = opened(gallery)
    assert share(index.search(clustered(9, 5), 10, effort="exact")[1], exact(gallery, clustered(9, 5), 10)) == 1.0
    for _ in range(2):  # nothing half-read is kept
        with pytest.raises(InputError, match=r"index\.faiss is missing or damaged; build the index again"):
            index.search(clustered(9, 5), 10)
    assert plan_index(gallery, IndexRequest()).reason.startswith("0 new rows")
    report = build_index(gallery, None)
    assert "it is built anew" in caplog.text
    assert report.delivers["image"].recall[10] > 0.9
    assert opened(gallery).search(clustered(9, 5), 10)[1].shape == (5, 10)


def test_a_reader_that_has_not_searched_yet_keeps_its_index_too(gallery: Path) -> None:
    queries_QD = clustered(9, 40)
    found = opened(gallery).search(queries_QD, 10, kind="image")[1]
    before = opened(gallery)
    add_rows(gallery, queries_QD)
    build_index(gallery, None, request=IndexRequest(factory="IVF16,SQ8"))
    np.testing.assert_array_equal(before.search(queries_QD, 10, kind="image")[1], found)


def test_threads_that_search_first_at_once_find_the_same(gallery: Path) -> None:
    queries_QD = clustered(9, 16)
    expected = opened(gallery).search(queries_QD, 10)[1]
    index, together = opened(gallery), threading.Barrier(16)

    def ask(query: int) -> np.ndarray:
        together.wait()
        return index.search(queries_QD[query : query + 1], 10)[1]

    with ThreadPoolExecutor(16) as pool:
        np.testing.assert_array_equal(np.concatenate(list(pool.map(ask, range(16)))), expected)


@pytest.mark.slow
def test_a_killed_build_leaves_the_index_that_was_there(gallery: Path) -> None:
    folder = gallery / "index" / "hf_x"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code = (
        "import sys; from pathlib import Path\n"
        "from diantu.indexing.build.job import IndexRequest, build_index\n"
        "print('go', flush=True)\n"
        "build_index(Path(sys.argv[1]), None, request=IndexRequest(factory='IVF128,PQ16x4fsr'))"
    )
    for pause in (0.0, 0.3, 0.6):
        job = subprocess.Popen([sys.executable, "-c", code, str(gallery)], stdout=subprocess.PIPE)
        assert job.stdout
        assert job.stdout.readline() == b"go\n"
        time.sleep(pause)
        job.send_signal(signal.SIGKILL)
        job.wait()
        job.stdout.close()
        assert {name: (folder / name).read_bytes() for name in before} == before
        assert opened(gallery).num_indexed == 6000
    assert build_index(gallery, None, request=IndexRequest(factory="IVF128,PQ16x4fsr"))["num_rows"] == 6000
    assert sorted(path.name for path in folder.iterdir()) == ["index.faiss", "index.json"]


@pytest.mark.parametrize("effort", ["slow", 0, -1, 1.5, "nan"])
def test_efforts_that_do_not_exist_are_refused(built: Path, effort: str | float) -> None:
    with pytest.raises(InputError, match="give one of fast, balanced, exact"):
        opened(built).search(clustered(0, 1), 5, effort=effort)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (np.zeros((3, 5), np.float32), "3×5"), (np.zeros((3, DIM), np.float32), "zero")],
)
def test_queries_that_cannot_be_used_are_refused(
    gallery: Path, tmp_path: Path, content: np.ndarray | None, message: str
) -> None:
    path = tmp_path / "q.npy"
    if content is not None:
        np.save(path, content)
    with pytest.raises(InputError, match=message):
        build_index(gallery, None, request=IndexRequest(tune_queries=path, rebuild=True))
    assert sorted(path.name for path in (gallery / "index" / "hf_x").iterdir()) == ["index.faiss", "index.json"]


@pytest.mark.parametrize("target", [0.1, 1.0])
def test_recalls_that_cannot_be_promised_are_refused(gallery: Path, target: float) -> None:
    with pytest.raises(InputError, match="the target recall is"):
        build_index(gallery, None, request=IndexRequest(target_recall=target))


def test_rows_like_those_there_are_no_drift_though_few_were_trained_on(tmp_path: Path) -> None:
    """Rows lie nearer to centres that were trained on them than others of their kind do; that is no drift."""
    root = new_gallery(tmp_path / "g", DIM)
    emb_ND = unit_vectors(0, 80_000)  # 65 536 of them are trained on
    add_rows(root, emb_ND[:75_000])
    trained = build_index(root, None, request=IndexRequest(factory="IVF1024,SQ8"))["spec"]["train_rows"]
    assert trained < 75_000
    add_rows(root, emb_ND[75_000:])
    report = build_index(root, None)
    assert report.training.rows == 75_000
    assert report.training.drift < 0.02


def test_a_report_of_an_earlier_release_is_replaced(gallery: Path) -> None:
    path = gallery / "index" / "hf_x" / "index.json"
    report = json.loads(path.read_text())
    for name in ("request", "training", "tuning", "bytes_per_row", "target_recall"):
        del report[name]
    path.write_text(json.dumps({**report, "version": 1}))
    assert evaluate(gallery)["delivers"]["image"]["recall@10"] == 1.0  # every row is compared
    assert plan_index(gallery, IndexRequest()).spec.factory == "Flat"
    assert build_index(gallery, None).version == 2


def test_a_damaged_report_is_replaced(gallery: Path) -> None:
    (gallery / "index" / "hf_x" / "index.json").write_text("{")
    assert plan_index(gallery, IndexRequest()).spec.factory == "Flat"
    assert build_index(gallery, None).num_rows == 6000


def test_rows_without_a_vector_are_no_queries(tmp_path: Path) -> None:
    root = new_gallery(tmp_path / "g", DIM)
    emb_ND = clustered(0, 3000)
    emb_ND[::10] = 0
    add_rows(root, emb_ND)
    report = build_index(root, None, request=IndexRequest(factory="IVF32,SQ8"))
    assert report.queries["image"].count < 2000
    assert {(point.k, point.target) for point in report.tuning["image"]} >= {(100, 0.99), (10, 0.99)}


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
    assert fresh.spec.factory != before["spec"]["factory"]
    assert fresh.ram_bytes <= 160_000


def test_a_seed_is_remembered(gallery: Path) -> None:
    build_index(gallery, None, request=IndexRequest(seed=3))
    assert "folded in" in plan_index(gallery, IndexRequest()).reason
    assert "folded in" not in plan_index(gallery, IndexRequest(seed=4)).reason


def test_a_gallery_without_any_row_left_can_be_indexed(gallery: Path) -> None:
    keys = [f"{part}-{row}" for part in range(3) for row in range(2000)]
    delete(gallery, keys=keys)
    assert build_index(gallery, None)["spec"]["factory"] == "Flat"
    assert opened(gallery).search(clustered(0, 2), 5)[1].shape == (2, 0)


def test_more_results_than_were_tuned_for_are_searched_more_broadly(built: Path) -> None:
    index = opened(built)
    hundred, thousand = (index.efforts.breadth(0.9, "image", k) for k in (100, 1000))
    assert hundred
    assert thousand
    assert thousand.candidates == 10 * hundred.candidates
    assert thousand.nprobe > hundred.nprobe


def faiss_index(root: Path) -> Any:
    """The lists of an index."""
    import faiss

    return faiss.read_index(str(root / "index" / "hf_x" / "index.faiss"))


def _centres(root: Path) -> np.ndarray:
    index = faiss_index(root)
    return index.quantizer.reconstruct_n(0, 64)


def test_a_plan_is_told_before_anything_is_built(gallery: Path, caplog: pytest.LogCaptureFixture) -> None:
    from diantu.scripts.commands.index import run

    before = {path: path.read_bytes() for path in (gallery / "index" / "hf_x").iterdir()}
    with caplog.at_level("INFO", logger="diantu"):
        assert run(str(gallery), factory="IVF32,SQ8", memory_budget="2MB", dry_run=True) == 0
        assert run(str(gallery), dry_run=True) == 0
    first, second = caplog.messages
    assert first.startswith("IVF32,SQ8: chosen by --factory; about ")
    assert second.startswith(f"{FACTORY}: 0 new rows are folded in without training; about ")
    assert {path: path.read_bytes() for path in before} == before


def test_an_evaluation_can_be_drawn(gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    from diantu.scripts.commands.evaluate import run

    assert run(str(gallery), plot=str(tmp_path / "curve.png"), json_=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert [point["effort"] for point in report["curve"]["image"]] == [0.8, 0.9, 0.95, 0.98, 0.99]
    recalls = [point["recall@10"] for point in report["curve"]["image"]]
    assert recalls[0] < recalls[2] < recalls[-1]
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size > (600, 400)
        assert len(set(picture.convert("RGB").resize((200, 120)).get_flattened_data())) > 20
    with pytest.raises(InputError, match=r"ends in none of \.png"):
        run(str(gallery), plot="curve.gif")

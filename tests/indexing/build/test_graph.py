"""A graph of SVS in place of lists: the same answers, rows that come and go, damage, kills, and a missing package."""

from __future__ import annotations

import re
import shutil
import signal
import struct
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from galleries import add_rows, few_queries, new_gallery
from indexes import DIM, FACTORY, clustered, exact, opened, share
from zygote import Zygote, wait_until

from diantu.datasets import InputError
from diantu.datasets.checksums import write_checked_json
from diantu.indexing.build.job import build_index, carry_index, plan_index
from diantu.indexing.build.request import IndexRequest
from diantu.indexing.index.report import index_name, read_report
from diantu.indexing.index.vamana_files import unpack
from diantu.indexing.index.within import FilterCache
from diantu.indexing.store.rowset import RowSet
from diantu.indexing.store.snapshot import Snapshot
from diantu.indexing.store.verify import verify_gallery
from diantu.indexing.upkeep.compaction import compact
from diantu.indexing.upkeep.deletion import delete

pytest.importorskip("svs", reason="needs scalable-vs")
pytestmark = pytest.mark.usefixtures("few_queries")

GRAPH = "SVSVamana24,FP16"
DAMAGED = r"index\.graph is missing or damaged; build the index again"


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """6000 rows in three parts, indexed by a graph; a test that changes something takes `gallery`."""
    root = new_gallery(tmp_path_factory.mktemp("graph") / "g", DIM)
    for part in range(3):
        add_rows(root, clustered(part, 2000))
    with few_queries():
        build_index(root, None, request=IndexRequest(factory=GRAPH))
    return root


@pytest.fixture
def gallery(graph: Path, tmp_path: Path) -> Path:
    """A copy of `graph`."""
    return shutil.copytree(graph, tmp_path / "g")


def folder_of(root: Path) -> Path:
    return root / "index" / "hf_x"


def names(root: Path) -> list[str]:
    return sorted(path.name for path in folder_of(root).iterdir())


def test_it_finds_what_exact_search_finds_with_exact_scores(graph: Path) -> None:
    assert names(graph) == ["index.graph", "index.json"]
    queries_QD = clustered(9, 300)
    index = opened(graph)
    best_QK = exact(graph, queries_QD, 10)
    for effort, least in (("fast", 0.88), ("balanced", 0.94), (0.99, 0.98)):
        scores_QK, rows_QK = index.search(queries_QD, 10, effort=effort, kind="image")
        assert share(rows_QK, best_QK) > least
        for query_D, scores_K, rows_K in zip(queries_QD, scores_QK, rows_QK, strict=True):
            np.testing.assert_allclose(scores_K, index.vectors.rows(rows_K) @ query_D, atol=2e-6)
            assert (np.diff(scores_K) <= 0).all()
    assert index.strategy("balanced", "image", 10).name == "index"
    assert not verify_gallery(graph).sentences


def test_one_query_at_a_time_finds_the_same_as_many_together(graph: Path) -> None:
    queries_QD = clustered(9, 600)
    together = opened(graph).search(queries_QD, 10, kind="image")
    index = opened(graph)
    alone = [index.search(query_D[None], 10, kind="image") for query_D in queries_QD]
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in alone]), together[1])
    np.testing.assert_array_equal(np.concatenate([scores for scores, _ in alone]), together[0])


def test_rows_with_equal_scores_are_in_ascending_order(tmp_path: Path) -> None:
    root = new_gallery(tmp_path / "g", DIM)
    add_rows(root, clustered(0, 500))
    add_rows(root, clustered(0, 500))  # every image twice
    build_index(root, None, request=IndexRequest(factory=GRAPH))
    _, rows_QK = opened(root).search(clustered(0, 500)[:100], 2, effort=0.99, kind="image")
    np.testing.assert_array_equal(rows_QK, np.arange(100)[:, None] + [0, 500])


def test_new_rows_join_the_graph_and_many_make_a_new_one(gallery: Path) -> None:
    add_rows(gallery, clustered(50, 1000))
    queries_QD = clustered(50, 1000)[:60]
    assert (opened(gallery).search(queries_QD, 1)[1][:, 0] >= 6000).all()
    report = build_index(gallery, None)
    assert report.reason == "1000 new rows are folded in without training"
    assert (report.num_rows, report.training.rows, report.spec.factory) == (7000, 6000, GRAPH)
    index = opened(gallery)
    assert index.num_indexed == 7000
    assert (index.search(queries_QD, 1, kind="image")[1][:, 0] >= 6000).mean() > 0.95
    assert share(index.search(queries_QD, 10, kind="image")[1], exact(gallery, queries_QD, 10)) > 0.93
    assert plan_index(gallery, IndexRequest()).reason == "no row is new"
    assert build_index(gallery, None).num_rows == 7000
    assert not verify_gallery(gallery).sentences
    add_rows(gallery, clustered(51, 2500))
    assert build_index(gallery, None).training.rows == 9500


def test_deleted_rows_never_come_back(gallery: Path) -> None:
    queries_QD = clustered(9, 40)
    gone = np.unique(opened(gallery).search(queries_QD, 60, kind="image")[1])  # all that is near the queries
    delete(gallery, keys=[f"{row // 2000}-{row % 2000}" for row in gone.tolist()])
    for effort in ("fast", "balanced", 0.99, "exact"):
        scores_QK, found_QK = opened(gallery).search(queries_QD, 20, effort=effort, kind="image")
        assert not np.isin(found_QK, gone).any()
        assert np.isfinite(scores_QK).all()
    report = build_index(gallery, None)
    assert report.delivers["image"].recall[10] > 0.93
    found_QK = opened(gallery).search(queries_QD, 20, kind="image")[1]
    assert not np.isin(found_QK, gone).any()
    assert share(found_QK, exact(gallery, queries_QD, 20)) > 0.85


def test_the_rows_of_a_filter_are_compared_exactly(graph: Path) -> None:
    index = opened(graph)
    mask_N = np.random.default_rng(1).random(6000) < 0.5
    queries_QD = clustered(9, 30)
    found = FilterCache(index).within(RowSet.of_mask(mask_N)).search(queries_QD, 10, kind="image")
    everything_QN = exact(graph, queries_QD, 6000)
    expected_QK = np.stack([rows[mask_N[rows]][:10] for rows in everything_QN])
    np.testing.assert_array_equal(found.rows_QK, expected_QK)


def test_a_gallery_changes_from_lists_to_a_graph_and_back(built: Path, tmp_path: Path) -> None:
    root = shutil.copytree(built, tmp_path / "g")
    queries_QD = clustered(9, 40)
    lists = opened(root)
    build_index(root, None, request=IndexRequest(factory=GRAPH))
    assert names(root) == ["index.graph", "index.json"]
    graph = opened(root)
    build_index(root, None, request=IndexRequest(factory=FACTORY))
    assert names(root) == ["index.faiss", "index.json"]
    for index in (lists, graph, opened(root)):  # each reader keeps the one that it opened
        assert share(index.search(queries_QD, 10, kind="image")[1], exact(root, queries_QD, 10)) > 0.9
    assert not verify_gallery(root).sentences


def test_a_compacted_gallery_gets_a_graph_again(gallery: Path, tmp_path: Path) -> None:
    delete(gallery, keys=[f"0-{row}" for row in range(1000)])
    compact(gallery, tmp_path / "smaller")
    assert carry_index(gallery, tmp_path / "smaller")
    report = build_index(tmp_path / "smaller", None)
    assert (report.num_rows, report.spec.factory) == (5000, GRAPH)
    queries_QD = clustered(9, 40)
    found_QK = opened(tmp_path / "smaller").search(queries_QD, 10, kind="image")[1]
    assert share(found_QK, exact(tmp_path / "smaller", queries_QD, 10)) > 0.93


def test_a_gallery_without_rows_left_can_be_indexed(gallery: Path) -> None:
    delete(gallery, keys=[f"{part}-{row}" for part in range(3) for row in range(2000)])
    assert build_index(gallery, None).spec.factory == "Flat"
    assert names(gallery) == ["index.faiss", "index.json"]


def test_damage_is_noticed_before_svs_reads_it(gallery: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = folder_of(gallery) / "index.graph"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert any("index.graph has changed" in sentence for sentence in verify_gallery(gallery).sentences)
    report = read_report(Snapshot.read(gallery))
    assert report
    # As if the first megabyte were intact.
    write_checked_json(gallery, f"{index_name('hf_x')}/index.json", replace(report, head_sha256=None).to_json())
    with pytest.raises(InputError, match=DAMAGED):
        opened(gallery).search(clustered(9, 5), 10)
    add_rows(gallery, clustered(5, 10))
    assert build_index(gallery, None).num_rows == 6010
    assert "it is built from scratch" in caplog.text
    path.unlink()
    with pytest.raises(InputError, match=DAMAGED):
        opened(gallery)


def with_member(source: Path, target: Path, name: str, data: bytes) -> None:
    """A copy of an archive in which one member is another one."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.namelist():
            new.writestr(member, data if member == name else old.read(member))


SAYS = {
    "edge": "leads to rows that do not exist",
    "count": "leads to rows that do not exist",
    "entry": "begins at row 6000",
    "file": "passwd",
    "rows": "6001",
    "size": "has another size",
    "member": "escaped",
    "settings": ".",  # the words of another library
    "no archive": "zip",
}


@pytest.mark.parametrize("case", SAYS)
def test_an_archive_that_would_lead_svs_astray_is_refused(graph: Path, tmp_path: Path, case: str) -> None:
    """The checksum of such an archive may be right: it came with the gallery."""
    path, evil = folder_of(graph) / "index.graph", tmp_path / "evil.zip"
    with zipfile.ZipFile(path) as archive:
        config, settings, edges = (
            archive.read(name) for name in ("config/svs_config.toml", "graph/svs_config.toml", "graph/graph_0.svs")
        )
    last_row = len(edges) - 4 * 25
    changed = {
        "edge": ("graph/graph_0.svs", edges[: last_row + 4] + struct.pack("<I", 6000) + edges[last_row + 8 :]),
        "count": ("graph/graph_0.svs", edges[:last_row] + struct.pack("<I", 25) + edges[last_row + 4 :]),
        "entry": ("config/svs_config.toml", re.sub(rb"entry_point = \d+", b"entry_point = 6000", config)),
        "file": ("graph/svs_config.toml", settings.replace(b"graph_0.svs", b"../../../etc/passwd")),
        "rows": ("graph/svs_config.toml", settings.replace(b"6000", b"6001")),
        "size": ("graph/graph_0.svs", edges[:-4]),
        "settings": ("config/svs_config.toml", b"not = toml ="),
    }
    if case in changed:
        with_member(path, evil, *changed[case])
    elif case == "member":
        with zipfile.ZipFile(evil, "w") as archive:
            archive.writestr("../escaped", b"")
    else:
        evil.write_bytes(b"PK" + bytes(1000))
    with evil.open("rb") as file, pytest.raises(ValueError, match=SAYS[case]):
        unpack(file, tmp_path / "out", 6000)
    assert not (tmp_path / "escaped").exists()
    with path.open("rb") as file:
        unpack(file, tmp_path / "good", 6000)


@pytest.mark.slow
def test_a_killed_build_leaves_the_old_index_and_no_process(built: Path, tmp_path: Path, jobs: Zygote) -> None:
    root = shutil.copytree(built, tmp_path / "g")
    before = {path.name: path.read_bytes() for path in folder_of(root).iterdir()}
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        job = jobs.start("index", "--gallery", root, "--factory", "SVSVamana128,FP16")
        wait_until(lambda job=job: builders(root) or job.poll() is not None, "graph")
        job.send_signal(number)
        assert job.wait() != 0
        wait_until(lambda: not builders(root), "the end of the process that builds")
        assert {name: (folder_of(root) / name).read_bytes() for name in before} == before
        assert opened(root).num_indexed == 6000
    assert build_index(root, None, request=IndexRequest(factory=GRAPH)).num_rows == 6000
    assert names(root) == ["index.graph", "index.json"]


def builders(root: Path) -> list[str]:
    """The command lines of processes that build a graph for a gallery."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode("utf-8", "replace")
        except OSError:  # it has ended
            continue
        if "graph_child" in line and str(root) in line:
            found.append(line)
    return found


def test_a_failure_of_svs_is_told_in_one_sentence(gallery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in folder_of(gallery).iterdir()}
    monkeypatch.setenv("PYTHONHOME", str(gallery))  # the process cannot even start
    with pytest.raises(InputError, match="SVS cannot build the graph: ") as caught:
        build_index(gallery, None, request=IndexRequest(rebuild=True))
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder_of(gallery).iterdir()} == before


def test_without_the_package_there_is_a_sentence(gallery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "svs", None)
    with pytest.raises(InputError, match=r'scalable-vs.*pip install "diantu\[svs\]"'):
        opened(gallery).search(clustered(9, 5), 10)
    with pytest.raises(InputError, match=r'scalable-vs.*pip install "diantu\[svs\]"'):
        build_index(gallery, None, request=IndexRequest(rebuild=True))
    queries_QD = clustered(9, 5)
    found_QK = opened(gallery).search(queries_QD, 10, effort="exact")[1]
    assert share(found_QK, exact(gallery, queries_QD, 10)) == 1.0
    build_index(gallery, None, request=IndexRequest(factory=FACTORY))
    assert names(gallery) == ["index.faiss", "index.json"]


@pytest.mark.parametrize("factory", ["SVSVamana64", "SVSVamana4,FP16", "SVSVamana999,FP16", "SVSVamana64,LVQ4x4"])
def test_other_graphs_of_svs_are_refused(gallery: Path, factory: str) -> None:
    with pytest.raises(InputError, match=f"the factory {factory} is not a graph of SVS that is known here"):
        plan_index(gallery, IndexRequest(factory=factory))


def test_the_plan_says_what_a_graph_needs(gallery: Path) -> None:
    plan = plan_index(gallery, IndexRequest(factory="SVSVamana64,FP16"))
    assert (plan.ram_bytes, plan.disk_bytes) == (6000 * (2 * DIM + 4 * 65), 6000 * 4 * 65)
    with pytest.raises(InputError, match=r"SVSVamana64,FP16 needs about 1\.9 MB of memory, the budget is 1\.0 MB"):
        plan_index(gallery, IndexRequest(factory="SVSVamana64,FP16", memory_budget=1_000_000))

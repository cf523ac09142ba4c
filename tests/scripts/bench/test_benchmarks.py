"""Benchmarks start, and an engine of `bench_index` runs where diantu is not installed."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from galleries import unit

from diantu.scripts.bench import peers
from diantu.scripts.bench.peers.worker.engine import Engine
from diantu.scripts.bench.peers.worker.job import Job
from diantu.scripts.bench.peers.worker.measuring import least_breadth, recall
from diantu.scripts.main import call

# Runs the folder as `python -I FOLDER …` does, in an interpreter that cannot import diantu.
WITHOUT_DIANTU = """
import runpy, sys
sys.modules["diantu"] = None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    "name",
    [
        "bench_answers",
        "bench_embed",
        "bench_first_answer",
        "bench_generate",
        "bench_graph",
        "bench_index",
        "bench_page",
        "bench_search",
        "bench_serve",
        "bench_text",
        "bench_zscores",
    ],
)
def test_every_benchmark_shows_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = importlib.import_module(f"diantu.scripts.{name}").run
    with pytest.raises(SystemExit) as ended:
        call(run, name, ["--help"])
    assert ended.value.code == 0
    assert f"usage: {name}" in capsys.readouterr().out
    assert call(run, name, ["--no-such-option"]) == 2


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """60 rows in two files, 12 queries and their exact results."""
    emb_ND, queries_QD = unit(1, 60), unit(2, 12)
    (tmp_path / "img_emb").mkdir()
    np.save(tmp_path / "img_emb" / "img_emb_00000.npy", emb_ND[:25].astype(np.float16))
    np.save(tmp_path / "img_emb" / "img_emb_00001.npy", emb_ND[25:].astype(np.float16))
    np.save(tmp_path / "queries.npy", queries_QD)
    stored_ND = emb_ND.astype(np.float16).astype(np.float32)
    np.save(tmp_path / "exact.npy", np.argsort(-(queries_QD @ stored_ND.T), axis=1)[:, :10])
    return Job(
        gallery="", vectors=str(tmp_path / "img_emb"), num_rows=60, dim=emb_ND.shape[1],
        kinds={"image": (str(tmp_path / "queries.npy"), str(tmp_path / "exact.npy"))}, kind="image", tuning=None,
        folder=str(tmp_path), threads=1, target=0.95, memory_budget=60_000, factory=None,
    )  # fmt: skip


def test_a_job_survives_the_command_line(job: Job) -> None:
    again = Job.from_json(job.to_json())
    assert [block.shape for _, block in again.blocks()] == [(25, job.dim), (35, job.dim)]
    assert [first for first, _ in again.blocks()] == [0, 25]
    assert again.timed_queries()[1].shape == (12, 10)
    assert again.to_json() == job.to_json()


@pytest.mark.parametrize("isolated", [True, False], ids=["by path", "without diantu"])
def test_an_engine_in_a_process_of_its_own(job: Job, isolated: bool) -> None:
    folder = str(Path(peers.__file__).parent)
    python = [sys.executable, "-I", folder] if isolated else [sys.executable, "-I", "-c", WITHOUT_DIANTU, folder]

    def answers(what: str, stdin: str) -> list[dict[str, float]]:
        command = [*python, what, "exact", job.to_json()]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    (built,) = answers("build", "")
    assert built["index"] == "IndexFlatIP"
    opened, first, second = answers("serve", "0.95\n0.5\n")
    assert opened["first_answer_seconds"] >= opened["open_seconds"] > 0
    assert first["recall"] == second["recall"] == 1.0
    assert first["timed"] == 12
    assert 0 < first["p50_ms"] <= first["p99_ms"]


class Widening(Engine):
    """Finds one more of the exact results with every 10 of breadth, up to `most` of them."""

    def __init__(self, exact_QK: np.ndarray, most: int) -> None:
        self._exact_QK, self._most, self._found = exact_QK, most, 0

    def set_breadth(self, breadth: int) -> None:
        self._found = min(breadth // 10, self._most)

    def search(self, queries_QD: np.ndarray) -> np.ndarray:
        rows_QK = np.full_like(self._exact_QK, -1)
        rows_QK[:, : self._found] = self._exact_QK[:, : self._found]
        return rows_QK


@pytest.mark.parametrize(
    ("most", "target", "expected"),
    [(10, 0.05, (10, 0.1)), (10, 0.7, (70, 0.7)), (10, 1.0, (100, 1.0)), (6, 0.95, (60, 0.6))],
    ids=["the first breadth is enough", "between two doublings", "all", "out of reach: the best there is"],
)
def test_the_smallest_breadth_that_reaches_a_recall(most: int, target: float, expected: tuple[int, float]) -> None:
    exact_QK = np.arange(40).reshape(4, 10)
    breadth, reached = least_breadth(Widening(exact_QK, most), np.zeros((4, 8)), exact_QK, target)
    assert reached == pytest.approx(expected[1])
    assert breadth == pytest.approx(expected[0], abs=max(1, expected[0] // 50))


def test_recall_counts_each_exact_result_once() -> None:
    assert recall(np.array([[3, 3, 3, 0, 1, 2, 9, 9, 9, 9]]), np.arange(10)[None]) == 0.5

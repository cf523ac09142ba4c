"""How long the first answer of a gallery takes when none of its files is in memory, beside reading its index alone.

    python -m diantu.scripts.bench_first_answer --output FOLDER [--rows 10000000]

A process that has imported everything opens the gallery and searches once: ten hits with all columns. Before, all files
are dropped from the page cache. In turn with that, `index.faiss` is dropped and read from beginning to end, which no
first answer can do without. A further first answer finds the index in memory, as a second process that serves the
gallery does. Each answer comes from a process of its own. The folder may be one of `bench_index`.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import faiss  # noqa: F401 - its import is not part of an answer
import numpy as np

from ..indexing.build.job import build_index
from ..indexing.build.request import IndexRequest
from ..indexing.index.report import index_folder, read_report
from ..indexing.store.snapshot import Snapshot
from ..search import Gallery
from .bench.page_cache import drop, read_all
from .bench.table import Line, print_targets
from .bench.vectors import Bench, synthetic
from .commands.common import print_json
from .main import call

_K = 10
# How many times as long as reading the index a first answer may take, in galleries of so many rows or more: with fewer,
# opening the files of the rows takes longer.
_MOST, _LARGE = 1.5, 5_000_000


def run(output: str, rows: int = 10_000_000, repeats: int = 5, json_: bool = False, seed: int = 0) -> int:
    """Measures first answers and prints their medians.

    Args:
        output: the folder for the gallery; what is in it already is used again.
        rows: number of synthetic vectors.
        repeats: number of first answers of each kind.
        json_: print the results as JSON on stdout.
        seed: the seed of the vectors and the queries.
    """
    bench = synthetic(Path(output), rows, seed=seed)
    index = _indexed(bench)
    files = [path for path in bench.gallery.rglob("*") if path.is_file()]
    texts_QD = np.load(bench.queries("text"))
    read, cold, warm = [], [], []
    for number in range(repeats):
        drop([index])
        read.append(_seconds_to_read(index))
        drop(files)
        cold.append(_first_answer(bench, texts_QD[2 * number]))
        read_all([index])
        warm.append(_first_answer(bench, texts_QD[2 * number + 1]))
    lines = _lines(index.stat().st_size, read, cold, warm, is_large=rows >= _LARGE)
    if json_:
        print_json({"rows": rows, "read_s": read, "cold_s": cold, "warm_s": warm, "lines": [*map(asdict, lines)]})
        return 0
    print_targets(lines)
    return 0


def _indexed(bench: Bench) -> Path:
    """The file of the gallery's index, which is built if it is missing or was written by an earlier release."""
    snapshot = Snapshot.read(bench.gallery)
    report = read_report(snapshot)
    if report is None or report.blocks is None:
        build_index(bench.gallery, None, request=IndexRequest(tune_queries=bench.tuning, rebuild=True))
    return index_folder(snapshot) / "index.faiss"


def _seconds_to_read(path: Path) -> float:
    started = time.perf_counter()
    read_all([path])
    return time.perf_counter() - started


def _first_answer(bench: Bench, query_D: np.ndarray) -> float:
    """Seconds to open the gallery and to search it, in a new process. It imports this module before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_open_and_search, (bench.gallery, query_D))


def _open_and_search(root: Path, query_D: np.ndarray) -> float:
    started = time.perf_counter()
    hits = Gallery.open(root).search(vector=query_D, k=_K)
    seconds = time.perf_counter() - started
    assert len(hits) == _K
    return seconds


def _lines(
    num_bytes: int, read: Sequence[float], cold: Sequence[float], warm: Sequence[float], *, is_large: bool
) -> list[Line]:
    read_s, cold_s, warm_s = (statistics.median(seconds) for seconds in (read, cold, warm))
    size = f"{num_bytes / 1e9:.2f} GB"
    return [
        Line(what=f"reading the index from the disk ({size})", value=f"{read_s:.2f} s ({_range(read)})"),
        Line(what="first answer, no file in memory", value=f"{cold_s:.2f} s ({_range(cold)})"),
        Line(
            what="the same ÷ reading the index",
            value=f"{cold_s / read_s:.2f}",
            target=f"≤ {_MOST}" if is_large else "",
            met=cold_s <= _MOST * read_s if is_large else None,
        ),
        Line(what="first answer, the index in memory", value=f"{warm_s:.2f} s ({_range(warm)})"),
    ]


def _range(seconds: Sequence[float]) -> str:
    return f"{min(seconds):.2f} to {max(seconds):.2f}"


if __name__ == "__main__":
    sys.exit(call(run, "python -m diantu.scripts.bench_first_answer", sys.argv[1:]))

"""Whole searches through graphs in memory against whole searches through the default index, in one run.

    python -m diantu.scripts.bench_graph --output FOLDER [--factories SVSVamana64,FP16 HNSW32,SQfp16]

One gallery of synthetic vectors (see `bench.generator`) with metadata like that of a crawl, once with each index, all
tuned for the same recall of texts. `gallery.search` with a vector returns ten hits with all columns; every query is
asked of every gallery in turn, one at a time on one thread.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..indexing.build.job import build_index
from ..indexing.build.request import IndexRequest
from ..indexing.index.opened import faiss_threads
from ..indexing.index.report import IndexReport, read_report
from ..indexing.store.snapshot import Snapshot
from ..indexing.store.vectors import Vectors
from ..search import Gallery
from .bench.page_cache import read_all
from .bench.vectors import Bench, synthetic
from .commands.common import print_json
from .main import call

_K, _WARM_UP, _TIE = 10, 100, 1e-5
_ROWS_PER_PART = 333_334
_FACTORIES = ("SVSVamana64,FP16", "HNSW32,SQfp16")


@dataclass(kw_only=True)
class _Engine:
    """A gallery with one of the indexes, and how its searches went."""

    gallery: Gallery
    report: IndexReport
    seconds: list[float] = field(default_factory=list)
    recalls: list[float] = field(default_factory=list)

    @property
    def p50_ms(self) -> float:
        """The median of one search."""
        return 1000 * statistics.median(self.seconds)

    def facts(self, first: _Engine) -> dict[str, float | str]:
        """What is printed; ratios are the first engine's time ÷ this one's."""
        ratios = [one / other for one, other in zip(first.seconds, self.seconds, strict=True)]
        return {
            "index": self.report.spec.factory,
            "recall@10": round(statistics.fmean(self.recalls), 4),
            "p50_ms": round(self.p50_ms, 3),
            "ratio": round(first.p50_ms / self.p50_ms, 2),
            "median_of_ratios": round(statistics.median(ratios), 2),
            "build_seconds": self.report.build_seconds,
            "bytes_per_row": self.report.bytes_per_row,
        }


def run(
    output: str,
    rows: int = 1_000_000,
    factories: list[str] = [*_FACTORIES],  # noqa: B006 - read, never changed
    queries: int = 700,
    json_: bool = False,
    seed: int = 0,
) -> int:
    """Measures whole searches with each index, and prints them beside those with the default index.

    Args:
        output: the folder for the galleries; what is in it already is used again.
        rows: number of vectors to search.
        factories: the indexes to compare with the default one.
        queries: number of queries to measure, at most 900.
        json_: print the results as JSON on stdout.
        seed: the seed of the vectors and the queries.
    """
    folder = Path(output)
    bench = synthetic(folder / f"{rows}", rows, part_rows=_ROWS_PER_PART, seed=seed)
    engines = [_engine(bench, bench.gallery, None)]
    for factory in factories:
        engines.append(_engine(bench, _linked(bench.gallery, folder / f"{rows}-{factory}"), factory))
    texts_QD = np.load(bench.queries("text"))[: queries + _WARM_UP]
    tenth_Q = np.load(bench.exact("text"))[: len(texts_QD), _K - 1]
    tenth_QD = Vectors(Snapshot.read(bench.gallery)).rows(tenth_Q)
    _measure(engines, texts_QD, np.einsum("qd,qd->q", texts_QD, tenth_QD) - _TIE)
    facts = [engine.facts(engines[0]) for engine in engines]
    if json_:
        print_json({"rows": rows, "engines": facts})
        return 0
    print(f"{rows} vectors, {len(engines[0].seconds)} text queries, one at a time on one thread\n")
    print(f"{'index':<44}{'recall@10':>10}{'p50 ms':>8}{'default ÷ this':>16}{'build s':>9}{'bytes per row':>15}")
    for one in facts:
        print(
            f"{one['index']:<44}{one['recall@10']:>10}{one['p50_ms']:>8}{one['ratio']:>15}×"
            f"{one['build_seconds']:>9}{one['bytes_per_row']:>15}"
        )
    return 0


def _linked(gallery: Path, copy: Path) -> Path:
    """The same gallery again, for another index; jobs replace files, so hard links are safe."""
    if not copy.exists():
        temporary = copy.with_name(f"{copy.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(gallery, temporary, copy_function=os.link, ignore=shutil.ignore_patterns("index", "*.lock"))
        temporary.rename(copy)
    return copy


def _engine(bench: Bench, root: Path, factory: str | None) -> _Engine:
    report = read_report(Snapshot.read(root))
    if report is None or not report.delivers:
        report = build_index(
            root, None, request=IndexRequest(factory=factory, tune_queries=bench.tuning), show_progress=True
        )
    read_all(path for path in root.rglob("*") if path.is_file())
    return _Engine(gallery=Gallery.open(root, threads=1), report=report)


def _measure(engines: Sequence[_Engine], texts_QD: np.ndarray, threshold_Q: np.ndarray) -> None:
    import torch

    torch.set_num_threads(1)
    with faiss_threads(1):
        for number, (text_D, threshold) in enumerate(zip(texts_QD, threshold_Q, strict=True)):
            # Another one is first each time: the first search of a query brings its rows into the processor's caches.
            for place in range(len(engines)):
                engine = engines[(number + place) % len(engines)]
                started = time.perf_counter()
                hits = engine.gallery.search(vector=text_D, k=_K)
                seconds = time.perf_counter() - started
                if number >= _WARM_UP:
                    engine.seconds.append(seconds)
                    engine.recalls.append(sum(hit.score >= threshold for hit in hits) / _K)


if __name__ == "__main__":
    sys.exit(call(run, "python -m diantu.scripts.bench_graph", sys.argv[1:]))

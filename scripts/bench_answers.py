"""What a whole search costs beside its index, and what metadata costs with many rows, in one run.

    python -m diantu.scripts.bench_answers --output FOLDER [--metadata-rows 10000000]

Galleries of synthetic vectors (see `bench.generator`) with metadata like that of a crawl. `gallery.search` with a
vector, which returns ten hits with all columns, is compared with the search of its index alone, which returns rows and
exact scores; both in turn with other queries, one at a time on one thread. Reading the metadata of hits and first
conditions are compared with a gallery of the same parts without a row store.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..indexing.build.job import build_index
from ..indexing.build.request import IndexRequest
from ..indexing.index.opened import GalleryIndex, faiss_threads
from ..indexing.index.report import read_report
from ..indexing.store.snapshot import Snapshot
from ..search import Gallery
from .bench.metadata import metadata_lines
from .bench.page_cache import read_all
from .bench.table import Line, print_targets
from .bench.vectors import Bench, synthetic
from .commands.common import print_json
from .main import call

_K, _WARM_UP = 10, 100
# Rows, rows per part, and how many times as long as its index a search may take.
_GALLERIES = ((1_000_000, 333_334, 1.6), (300_000, 1_000, 2.0))


def run(
    output: str,
    metadata_rows: int = 10_000_000,
    shrink: int = 1,
    queries: int = 400,
    json_: bool = False,
    seed: int = 0,
) -> int:
    """Measures searches and metadata, and prints what they reach.

    Args:
        output: the folder for the galleries; what is in it already is used again.
        metadata_rows: number of rows of the gallery whose metadata is read; 0 skips this.
        shrink: divide the rows of the searched galleries by this, for a quick look; the targets are those of 1.
        queries: number of queries for each of the two, at most 400.
        json_: print the results as JSON on stdout.
        seed: the seed of the vectors and the queries.
    """
    folder = Path(output)
    lines = []
    for num_rows, part_rows, times in _GALLERIES:
        bench = synthetic(
            folder / f"{num_rows}-{shrink}", num_rows // shrink, part_rows=part_rows // shrink or 1, seed=seed
        )
        lines.append(_search_line(bench, queries, times, is_whole=shrink == 1))
    if metadata_rows:
        lines += metadata_lines(folder / "metadata", metadata_rows)
    if json_:
        print_json({"lines": [asdict(line) for line in lines]})
        return 0
    print_targets(lines)
    return 0


def _search_line(bench: Bench, num_queries: int, times: float, *, is_whole: bool) -> Line:
    import torch

    report = read_report(Snapshot.read(bench.gallery))
    if report is None or report.row_store is None:
        build_index(bench.gallery, None, request=IndexRequest(tune_queries=bench.tuning))
    read_all(path for path in bench.gallery.rglob("*") if path.is_file())
    gallery = Gallery.open(bench.gallery, threads=1)
    index = GalleryIndex.open(gallery.snapshot)
    texts_QD = np.load(bench.queries("text"))[: 2 * (num_queries + _WARM_UP)]
    alone, whole = [], []
    torch.set_num_threads(1)
    with faiss_threads(1):
        # Other queries for each: the second search of a query finds its rows in the caches of the processor.
        for first_D, second_D in zip(texts_QD[::2], texts_QD[1::2], strict=True):
            started = time.perf_counter()
            index.search(first_D[None], _K, kind="vector")
            alone.append(time.perf_counter() - started)
            started = time.perf_counter()
            gallery.search(vector=second_D, k=_K)
            whole.append(time.perf_counter() - started)
    index_ms, search_ms = (1000 * statistics.median(each[_WARM_UP:]) for each in (alone, whole))
    num_parts = len(gallery.snapshot.manifest.parts)
    return Line(
        what=f"search with metadata ÷ its index, {len(gallery)} rows in {num_parts} parts",
        value=f"{search_ms / index_ms:.2f} ({search_ms:.3f} ÷ {index_ms:.3f} ms)",
        target=f"≤ {times}" if is_whole else "",
        met=search_ms <= times * index_ms if is_whole else None,
    )


if __name__ == "__main__":
    sys.exit(call(run, "python -m diantu.scripts.bench_answers", sys.argv[1:]))

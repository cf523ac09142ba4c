"""Times reading the metadata of hits from a gallery of many rows: a part of `bench_search`."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...datasets.types import Shard
from ...indexing.store.metadata import Metadata
from ...indexing.store.parts import write_part
from ...indexing.store.records import read_part
from ...indexing.store.snapshot import Snapshot
from .memory import private_bytes
from .records import web_records
from .table import Line
from .vectors import bench_manifest

_DIM = 8  # vectors are not measured
_PART_ROWS = 10_000  # as in shards of img2dataset
_NUM_HITS, _NUM_SEARCHES, _MS = 100, 200, 20.0
_COLUMNS = ("key", "caption", "url")


def metadata_lines(folder: Path, num_rows: int) -> list[Line]:
    """Reads the metadata of 100 random rows many times: a few columns, then all.

    The files are in the page cache if they fit. Memory is the private memory of this process.
    """
    _write_gallery(folder, num_rows)
    metadata, rng = Metadata(Snapshot.read(folder)), np.random.default_rng(0)
    lines = []
    for what, columns in ((f"{len(_COLUMNS)} columns", _COLUMNS), ("all columns", None)):
        held, milliseconds = [], []
        for _ in range(_NUM_SEARCHES):
            rows_N = rng.integers(0, num_rows, _NUM_HITS)
            started = time.perf_counter()
            metadata.rows(rows_N, columns)
            milliseconds.append(1000 * (time.perf_counter() - started))
            held.append(private_bytes())
        p50, p99 = np.percentile(milliseconds, (50, 99))
        grown = (statistics.median(held[-20:]) - statistics.median(held[len(held) // 2 :][:20])) / 1e6
        lines.append(
            Line(
                what=f"metadata of {_NUM_HITS} hits from {num_rows} rows, {what}",
                value=f"p50 {p50:.1f} ms, p99 {p99:.1f} ms; memory {grown:+.1f} MB in the later half",
                target=f"≤ {_MS:.0f} ms",
                met=bool(p50 <= _MS),
            )
        )
    return lines


def _write_gallery(folder: Path, num_rows: int) -> None:
    """Writes parts with metadata like that of a web crawl; existing parts are kept."""
    manifest = bench_manifest(_DIM)
    for number, low in enumerate(tqdm(range(0, num_rows, _PART_ROWS), desc="writing metadata", unit=" parts")):
        count = min(_PART_ROWS, num_rows - low)
        if read_part(folder, number) is None:
            rng = np.random.default_rng(number)
            emb_ND = rng.standard_normal((count, _DIM), dtype=np.float32)
            shard = Shard(uri=f"/bench/{number:05d}.tar", format="webdataset", size_bytes=0)
            records = web_records(low, count, rng)
            fingerprint = manifest.spec.fingerprint
            write_part(folder, number, shard, fingerprint=fingerprint, emb_ND=emb_ND, records=records)
    manifest.with_committed(folder).save(folder)

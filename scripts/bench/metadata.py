"""Times reading the metadata of hits, and first conditions, with a gallery of many rows: a part of `bench_answers`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...datasets.types import Shard
from ...indexing.store.columns import Columns
from ...indexing.store.filters import Filters
from ...indexing.store.manifest import read_manifest
from ...indexing.store.metadata import Metadata
from ...indexing.store.parts import write_part
from ...indexing.store.records import read_part
from ...indexing.store.rows.writing import lay_out_rows
from ...indexing.store.snapshot import Snapshot
from .memory import private_bytes
from .page_cache import drop, read_all
from .records import web_records
from .table import Line
from .vectors import bench_manifest

_DIM = 8  # vectors are not measured
_PART_ROWS = 10_000  # as in shards of img2dataset
_NUM_HITS, _NUM_SEARCHES, _NUM_COLD = 100, 200, 9
_COLUMNS = ("key", "caption", "url")
# Each number makes another condition on the same column.
_CONDITIONS = {
    "a number": "width >= {}",
    "a category": "dominant_color = 'red' OR dominant_color = '{}'",
    "a caption": "caption LIKE '%{} cat'",
}
# Targets in milliseconds: some columns, all columns, files not in memory; the first condition on a column, the next.
_SOME_MS, _ALL_MS, _COLD_MS, _FIRST_MS, _NEXT_MS = 5.0, 10.0, 60.0, 500.0, 50.0


def metadata_lines(folder: Path, num_rows: int) -> list[Line]:
    """Reads the metadata of 100 random rows many times, and asks first conditions; with the row store and without it.

    Memory is the private memory of this process.
    """
    root = _laid_out(folder / "gallery", num_rows)
    parts_only = _without_rows(root, folder / "parts_only")
    lines = []
    for what, columns, target in ((f"{len(_COLUMNS)} columns", _COLUMNS, _SOME_MS), ("all columns", None, _ALL_MS)):
        before, after = _warm(parts_only, num_rows, columns), _warm(root, num_rows, columns)
        cold = [_cold(root, lambda columns=columns: _one(root, num_rows, columns)) for _ in range(_NUM_COLD)]
        without = [
            _cold(parts_only, lambda columns=columns: _one(parts_only, num_rows, columns)) for _ in range(_NUM_COLD)
        ]
        about = f"metadata of {_NUM_HITS} hits from {num_rows} rows, {what}"
        lines += [
            _line(about, after[0], before[0], target, f"; memory {after[1]:+.1f} MB in the later half"),
            _line(f"{about}, files not in memory", statistics.median(cold), statistics.median(without), _COLD_MS),
        ]
    for what, where in _CONDITIONS.items():
        filters, reference = Filters(Columns(Snapshot.read(root))), Filters(Columns(Snapshot.read(parts_only)))
        first, before = _ms(filters, where.format(512)), _ms(reference, where.format(512))
        lines.append(_line(f"first condition on {what}, {num_rows} rows", first, before, _FIRST_MS))
        further = statistics.median(_ms(filters, where.format(512 + i)) for i in range(1, 6))
        before = statistics.median(_ms(reference, where.format(512 + i)) for i in range(1, 6))
        lines.append(_line(f"another one on {what}", further, before, _NEXT_MS))
    return lines


def _line(what: str, ms: float, before: float, target: float | None, more: str = "") -> Line:
    value = f"{ms:.2f} ms (from the parts: {before:.1f} ms, {before / ms:.0f}×){more}"
    return Line(
        what=what, value=value, target=f"≤ {target:.0f} ms" if target else "", met=ms <= target if target else None
    )


def _warm(root: Path, num_rows: int, columns: Sequence[str] | None) -> tuple[float, float]:
    """The median of the later searches in ms, and by how many MB memory has grown in their later half."""
    metadata, rng = Metadata(Snapshot.read(root)), np.random.default_rng(0)
    read_all(_files(root))
    held, milliseconds = [], []
    for _ in range(_NUM_SEARCHES):
        rows_N = rng.integers(0, num_rows, _NUM_HITS)
        started = time.perf_counter()
        metadata.rows(rows_N, columns)
        milliseconds.append(1000 * (time.perf_counter() - started))
        held.append(private_bytes())
    grown = (statistics.median(held[-20:]) - statistics.median(held[len(held) // 2 :][:20])) / 1e6
    return statistics.median(milliseconds[_NUM_SEARCHES // 4 :]), grown


def _one(root: Path, num_rows: int, columns: Sequence[str] | None) -> None:
    rows_N = np.random.default_rng(time.monotonic_ns()).integers(0, num_rows, _NUM_HITS)
    Metadata(Snapshot.read(root)).rows(rows_N, columns)


def _cold(root: Path, action: Callable[[], None]) -> float:
    """Milliseconds of an action, opening included, with the files of the metadata out of the page cache."""
    drop(_files(root))
    started = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - started)


def _files(root: Path) -> list[Path]:
    return [path for name in ("rows", "metadata", "parts") for path in (root / name).glob("*")]


def _ms(filters: Filters, where: str) -> float:
    started = time.perf_counter()
    filters.rows(where)
    return 1000 * (time.perf_counter() - started)


def _laid_out(root: Path, num_rows: int) -> Path:
    """Writes parts with metadata like that of a web crawl, and the row store; what exists already is kept."""
    manifest = bench_manifest(_DIM)
    for number, low in enumerate(tqdm(range(0, num_rows, _PART_ROWS), desc="writing metadata", unit=" parts")):
        count = min(_PART_ROWS, num_rows - low)
        if read_part(root, number) is None:
            rng = np.random.default_rng(number)
            emb_ND = rng.standard_normal((count, _DIM), dtype=np.float32)
            shard = Shard(uri=f"/bench/{number:05d}.tar", format="webdataset", size_bytes=0)
            records = web_records(low, count, rng)
            fingerprint = manifest.spec.fingerprint
            write_part(root, number, shard, fingerprint=fingerprint, emb_ND=emb_ND, records=records)
    manifest.with_committed(root).save(root)
    with tqdm(desc="laying rows out", unit=" rows") as bar:
        lay_out_rows(root, read_manifest(root), on_rows=bar.update)
    return root


def _without_rows(root: Path, other: Path) -> Path:
    """The same gallery without its row store, by links: what searches did before there was one."""
    other.mkdir(exist_ok=True)
    for name in ("metadata", "parts"):
        if not (other / name).exists():
            (other / name).symlink_to((root / name).resolve())
    read_manifest(root).save(other)
    return other

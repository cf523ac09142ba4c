"""`diantu dedup`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...indexing.store.manifest import read_manifest
from ...indexing.store.metadata import Metadata
from ...indexing.upkeep.dedup import MAX_HASH_DISTANCE, find_duplicates

_NUM_LARGEST = 10
_NUM_KEYS = 5


def run(gallery: str, threshold: float = 0.95, max_hash_distance: int = MAX_HASH_DISTANCE, json: bool = False) -> int:
    """Finds near-duplicates over the whole gallery, and notes for each which picture it is a duplicate of.

    Args:
        gallery: the gallery's folder.
        threshold: the score from which two pictures may be duplicates, above 0 and up to 0.999.
        max_hash_distance: in how many of 64 bits their perceptual hashes may differ; 64 ignores them.
        json: machine-readable, on stdout.
    """
    root = Path(gallery)
    started = time.perf_counter()
    found = find_duplicates(root, threshold=threshold, max_hash_distance=max_hash_distance, show_progress=True)
    seconds = time.perf_counter() - started
    manifest = read_manifest(root)
    metadata = Metadata(root, manifest)
    report = {
        "gallery": gallery,
        "rows": found.num_rows,
        "deleted": found.num_deleted,
        "threshold": threshold,
        "max_hash_distance": max_hash_distance,
        "groups": found.num_groups,
        "duplicates": len(found),
        "share": round(len(found) / max(found.num_rows, 1), 4),
        "cut": found.num_cut,
        "not_covered": manifest.num_rows - found.num_rows,
        "seconds": round(seconds, 3),
        "largest": [_group(rows, metadata) for rows in found.largest(_NUM_LARGEST)],
    }
    _print_json(report) if json else _print_table(report)
    return 0


def _group(rows: np.ndarray, metadata: Metadata) -> dict[str, Any]:
    keys = [record["key"] for record in metadata.rows(rows[:_NUM_KEYS])]
    return {"rows": len(rows), "representative": keys[0], "duplicates": keys[1:]}


def _print_json(report: dict[str, Any]) -> None:
    print(json.dumps(report, ensure_ascii=False))


def _print_table(report: dict[str, Any]) -> None:
    print("\n".join(_lines(report)))


def _lines(report: dict[str, Any]) -> Iterator[str]:
    settings = f"score ≥ {report['threshold']:g}, hashes within {report['max_hash_distance']} bits"
    yield f"{report['gallery']}: {report['rows']} rows; {settings}; {report['seconds']:.1f} s"
    yield f"duplicates  {report['duplicates']} in {report['groups']} groups ({report['share']:.1%} of the rows)"
    if report["deleted"]:
        yield f"left out    {report['deleted']} deleted rows"
    if report["cut"]:
        yield f"cut short   the neighbours of {report['cut']} pictures, which have too many; a higher --threshold helps"
    if report["not_covered"]:
        yield f"not covered {report['not_covered']} rows added in the meantime; run diantu dedup again"
    for group in report["largest"]:
        more = ", …" if group["rows"] > 1 + len(group["duplicates"]) else ""
        yield f"  {group['rows']:>6}  {group['representative']}  ←  {', '.join(group['duplicates'])}{more}"

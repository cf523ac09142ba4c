"""`diantu dedup`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import print_json, print_lines

if TYPE_CHECKING:
    import numpy as np

    from ...indexing.store.metadata import Metadata

# How many groups are printed, and how many keys of each.
_NUM_LARGEST, _NUM_KEYS = 10, 5


def run(gallery: str, threshold: float = 0.95, max_hash_distance: int = 10, json_: bool = False) -> int:
    """Finds near-duplicates in the whole gallery, and records for each one which image it duplicates.

    Args:
        gallery: the gallery's folder.
        threshold: the least score of two images that count as duplicates, above 0 and up to 0.999.
        max_hash_distance: how many of the 64 bits of their perceptual hashes may differ; 64 ignores the hashes.
        json_: print the report as JSON on stdout.
    """
    from ...indexing.store.metadata import Metadata
    from ...indexing.store.snapshot import Snapshot
    from ...indexing.upkeep.dedup import find_duplicates

    root = Path(gallery)
    started = time.perf_counter()
    found = find_duplicates(root, threshold=threshold, max_hash_distance=max_hash_distance, show_progress=True)
    seconds = time.perf_counter() - started
    snapshot = Snapshot.read(root)
    metadata = Metadata(snapshot)
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
        "not_covered": snapshot.num_rows - found.num_rows,
        "seconds": round(seconds, 3),
        "largest": [_group(rows, metadata) for rows in found.largest(_NUM_LARGEST)],
    }
    if json_:
        print_json(report)
    else:
        print_lines(_lines(report))
    return 0


def _group(rows: np.ndarray, metadata: Metadata) -> dict[str, Any]:
    keys = [record["key"] for record in metadata.rows(rows[:_NUM_KEYS])]
    return {"rows": len(rows), "representative": keys[0], "duplicates": keys[1:]}


def _lines(report: dict[str, Any]) -> Iterator[str]:
    settings = f"score ≥ {report['threshold']:g}, hashes within {report['max_hash_distance']} bits"
    yield f"{report['gallery']}: {report['rows']} rows; {settings}; {report['seconds']:.1f} s"
    yield f"duplicates  {report['duplicates']} in {report['groups']} groups ({report['share']:.1%} of the rows)"
    if report["deleted"]:
        yield f"left out    {report['deleted']} deleted rows"
    if report["cut"]:
        yield f"incomplete  {report['cut']} images have too many neighbours to compare all; use a higher --threshold"
    if report["not_covered"]:
        yield f"not covered {report['not_covered']} rows were added meanwhile; run diantu dedup again"
    for group in report["largest"]:
        more = ", …" if group["rows"] > 1 + len(group["duplicates"]) else ""
        yield f"  {group['rows']:>6}  {group['representative']}  ←  {', '.join(group['duplicates'])}{more}"

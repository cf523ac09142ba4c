"""`diantu status`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def run(gallery: str, failures: bool = False, verify: bool = False, json: bool = False) -> int:
    """Tells what of a gallery is done, left out and left to do; may be run while a job is.

    Args:
        gallery: the gallery's folder.
        failures: list every sample that was left out, with its reason.
        verify: read all files and compare them with their checksums.
        json: machine-readable, on stdout.
    """
    from ...datasets.files import is_locked
    from ...indexing.store.layout import JOB_LOCK
    from ...indexing.store.ledger import Ledger
    from ...indexing.store.manifest import read_manifest
    from ...indexing.store.records import verify_part
    from ...indexing.store.tombstones import read_deleted

    root = Path(gallery)
    manifest = read_manifest(root)
    progress = Ledger(root).progress()
    problems = [problem for part in progress.parts for problem in verify_part(root, part)] if verify else []
    report: dict[str, Any] = {
        "gallery": gallery,
        "encoder": manifest.spec.name,
        "running": is_locked(root, JOB_LOCK),
        "rows": progress.num_rows,
        "deleted": len(read_deleted(root)),
        "shards": progress.num_shards,
        "shards_done": len(progress.parts),
        "failed": sum(progress.failures.values()),
        "failures_by_reason": progress.failures,
        "quarantined": [part.quarantined for part in progress.quarantined],
    }
    if failures:
        from ...indexing.store.parts import read_failures

        report["failures"] = [row for part in progress.parts for row in read_failures(root, part.number)]
    if verify:
        report["problems"] = problems
    _print_json(report) if json else _print_table(report)
    return 1 if problems else 0


def _print_json(report: dict[str, Any]) -> None:
    print(json.dumps(report, ensure_ascii=False))


def _print_table(report: dict[str, Any]) -> None:
    left = report["shards"] - report["shards_done"]
    state = "a job is running" if report["running"] else "no job is running"
    print(f"{report['gallery']}: {report['rows']} rows by {report['encoder']}; {state}")
    print(f"shards  {report['shards_done']} of {report['shards']} done, {left} left")
    reasons = ", ".join(f"{count} {reason}" for reason, count in report["failures_by_reason"].items())
    print(f"failed  {report['failed']}" + (f" ({reasons})" if reasons else ""))
    print(f"deleted {report['deleted']}" + (" (diantu compact leaves them out)" if report["deleted"] else ""))
    for reason in report["quarantined"]:
        print(f"left out as a whole: {reason}")
    for row in report.get("failures", ()):
        print(f"  {row['shard']}  {row['key'] or '(the shard)'}  {row['reason']}: {row['detail']}")
    if "problems" in report:
        problems = report["problems"]
        print("files   " + ("all parts as they were written" if not problems else "; ".join(problems)))
        if problems:
            print("        remove the parts' files in parts/ and run diantu embed again to make them anew")

"""`diantu status`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...datasets.errors import InputError
from .common import print_json


def run(
    gallery: str,
    failures: bool = False,
    verify: bool = False,
    relocate: list[str] = [],  # noqa: B006 - read, never changed
    json_: bool = False,
) -> int:
    """Shows what of a gallery is done, failed and left to do; you may call it while a job runs.

    Args:
        gallery: the gallery's folder.
        failures: list every sample that was left out, with the reason.
        verify: read all files and compare them with their checksums.
        relocate: the shards have moved, so that pixels must be read from another place: OLD NEW, what their places
            began with and begin with now.
        json_: print the report as JSON on stdout.
    """
    from ...datasets.files import is_locked
    from ...indexing.store.layout import JOB_LOCK
    from ...indexing.store.ledger import Ledger
    from ...indexing.store.manifest import read_manifest
    from ...indexing.store.records import verify_part
    from ...indexing.store.tombstones import read_deleted

    root = Path(gallery)
    if relocate:
        _relocate(root, relocate)
    manifest = read_manifest(root)
    progress = Ledger(root).progress()
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
        from ...indexing.store.parts import read_failures  # loads pyarrow

        report["failures"] = [row for part in progress.parts for row in read_failures(root, part.number)]
    if verify:
        report["problems"] = [problem for part in progress.parts for problem in verify_part(root, part)]
    if json_:
        print_json(report)
    else:
        print("\n".join(_lines(report)))
    return 1 if report.get("problems") else 0


def _relocate(root: Path, places: list[str]) -> None:
    from ...indexing.upkeep.relocation import relocate

    if len(places) != 2:
        raise InputError(f"--relocate takes two places, the old one and the new one; {len(places)} were given")
    done = relocate(root, *places)
    missing = f", {len(done.missing)} of them are missing there: {', '.join(done.missing[:3])}" if done.missing else ""
    shards = "1 shard is" if done.num_moved == 1 else f"{done.num_moved} shards are"
    print(f"{shards} in {places[1]} now{missing}")


def _lines(report: dict[str, Any]) -> Iterator[str]:
    left = report["shards"] - report["shards_done"]
    state = "a job is running" if report["running"] else "no job is running"
    yield f"{report['gallery']}: {report['rows']} rows, encoder {report['encoder']}; {state}"
    yield f"shards  {report['shards_done']} of {report['shards']} done, {left} left"
    reasons = ", ".join(f"{count} {reason}" for reason, count in report["failures_by_reason"].items())
    yield f"failed  {report['failed']}" + (f" ({reasons})" if reasons else "")
    yield f"deleted {report['deleted']}" + (" (diantu compact removes them)" if report["deleted"] else "")
    for reason in report["quarantined"]:
        yield f"shard left out: {reason}"
    for row in report.get("failures", ()):
        yield f"  {row['shard']}  {row['key'] or '(the shard)'}  {row['reason']}: {row['detail']}"
    if "problems" in report:
        problems = report["problems"]
        yield "files   " + ("; ".join(problems) if problems else "all files have their checksums")
        if problems:
            yield "        to rebuild a damaged part, remove its file in parts/ and run diantu embed again"

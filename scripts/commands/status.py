"""`diantu status`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...datasets.errors import InputError
from .common import print_json, print_lines

if TYPE_CHECKING:
    from ...datasets.checksums import Problems


def run(
    gallery: str | None = None,
    run: str | None = None,
    failures: bool = False,
    verify: bool = False,
    accept: bool = False,
    relocate: list[str] = [],  # noqa: B006 - read, never changed
    json_: bool = False,
) -> int:
    """Shows what of a gallery or a run is done, failed and left to do; you may call it while a job runs.

    Args:
        gallery: the gallery's folder.
        run: the folder of a run of `diantu generate`, instead of a gallery.
        failures: list every sample or picture that was left out, with the reason.
        verify: read all files and compare them with their checksums.
        accept: take the present files as right and note their checksums, after you restored files from a copy.
        relocate: the shards have moved, so that pixels must be read from another place: OLD NEW, what their places
            began with and begin with now.
        json_: print the report as JSON on stdout.
    """
    if (gallery is None) == (run is None):
        raise InputError("status needs the folder of a gallery (--gallery) or of a run (--run); give one of them")
    report: dict[str, Any] = {"gallery": gallery} if gallery is not None else {"run": run}
    described, checked, accepted = _GALLERY if gallery is not None else _RUN
    root = Path(gallery if gallery is not None else run or "")
    if relocate:
        _relocate(root, relocate)
    if accept:
        report["accepted"] = accepted(root)
    problems = checked(root) if verify else None
    try:
        report |= described(root, failures)
    except InputError:
        if problems is None or not problems.sentences:
            raise  # else the sentences say more
    if problems is not None:
        report |= {"problems": list(problems.sentences), "not_checked": len(problems.unchecked)}
    if json_:
        print_json(report)
    else:
        print_lines(_lines(report))
    return 1 if report.get("problems") else 0


def _describe_gallery(root: Path, failures: bool) -> dict[str, Any]:
    from ...datasets.files import is_locked
    from ...indexing.store.layout import JOB_LOCK, SLURM
    from ...indexing.store.ledger import Ledger
    from ...indexing.store.manifest import read_manifest
    from ...indexing.store.tombstones import read_deleted

    manifest = read_manifest(root)
    progress = Ledger(root).progress()
    report: dict[str, Any] = {
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
    if any((root / SLURM).glob("*/submission.json")):
        from ...indexing.embed.executors.slurm.report import describe  # loads torch

        report |= {"slurm": described} if (described := describe(root)) else {}
    if failures:
        from ...indexing.store.parts import read_failures  # loads pyarrow

        report["failures"] = [
            row for part in progress.parts if part.failures for row in read_failures(root, part.number)
        ]
    return report


def _verify_gallery(root: Path) -> Problems:
    from ...datasets.files import is_locked
    from ...indexing.store.layout import JOB_LOCK
    from ...indexing.store.verify import verify_gallery

    return verify_gallery(root, is_running=is_locked(root, JOB_LOCK))


def _accept_gallery(root: Path) -> int:
    from ...indexing.store.verify import accept_gallery

    return accept_gallery(root)


def _describe_run(root: Path, failures: bool) -> dict[str, Any]:
    from ...generation.run.verify import describe_run

    return describe_run(root, failures=failures)


def _verify_run(root: Path) -> Problems:
    from ...generation.run.verify import verify_run

    return verify_run(root)


def _accept_run(root: Path) -> int:
    from ...generation.run.verify import accept_run

    return accept_run(root)


# What is described, verified and accepted; modules are imported when they are needed.
_GALLERY = (_describe_gallery, _verify_gallery, _accept_gallery)
_RUN = (_describe_run, _verify_run, _accept_run)


def _relocate(root: Path, places: list[str]) -> None:
    from ...indexing.upkeep.relocation import relocate

    if len(places) != 2:
        raise InputError(f"--relocate takes two places, the old one and the new one; {len(places)} were given")
    done = relocate(root, *places)
    missing = f", {len(done.missing)} of them are missing there: {', '.join(done.missing[:3])}" if done.missing else ""
    shards = "1 shard is" if done.num_moved == 1 else f"{done.num_moved} shards are"
    print(f"{shards} in {places[1]} now{missing}")


def _lines(report: dict[str, Any]) -> Iterator[str]:
    if "accepted" in report:
        yield f"noted   the checksums of {report['accepted']} files"
    if "rows" in report:
        yield from _gallery_lines(report)
    elif "pictures" in report:
        yield from _run_lines(report)
    if "problems" in report:
        yield from _problem_lines(report)


def _gallery_lines(report: dict[str, Any]) -> Iterator[str]:
    left = report["shards"] - report["shards_done"]
    yield f"{report['gallery']}: {report['rows']} rows, encoder {report['encoder']}; {_state(report)}"
    yield f"shards  {report['shards_done']} of {report['shards']} done, {left} left"
    reasons = ", ".join(f"{count} {reason}" for reason, count in report["failures_by_reason"].items())
    yield f"failed  {report['failed']}" + (f" ({reasons})" if reasons else "")
    yield f"deleted {report['deleted']}" + (" (diantu compact removes them)" if report["deleted"] else "")
    if "slurm" in report:
        yield from _submission_lines(report["slurm"])
    for reason in report["quarantined"]:
        yield f"shard left out: {reason}"
    for row in report.get("failures", ()):
        yield f"  {row['shard']}  {row['key'] or '(the shard)'}  {row['reason']}: {row['detail']}"


def _submission_lines(submitted: dict[str, Any]) -> Iterator[str]:
    shards = (
        f"{submitted['shards_embedded']} of {submitted['shards']} shards embedded, {submitted['shards_begun']} begun"
    )
    if submitted["problem"]:
        tasks = f"whether its tasks run is not known ({submitted['problem']})"
    elif submitted["tasks"]:
        tasks = "tasks: " + ", ".join(f"{count} {state}" for state, count in submitted["tasks"].items())
    else:
        tasks = "no tasks any more; diantu embed continues"
    yield f"slurm   {submitted['name']}: {shards}; {tasks}"


def _run_lines(report: dict[str, Any]) -> Iterator[str]:
    yield f"{report['run']}: {report['pictures']} pictures planned; {_state(report)}"
    counts = ", ".join(f"{count} {status}" for status, count in report["by_status"].items())
    yield f"made    {counts or 'none'}, {report['left']} left"
    for row in report.get("failures", ()):
        yield f"  {row['name']}  {row['status']}: {row['reason']}"


def _state(report: dict[str, Any]) -> str:
    if report.get("slurm", {}).get("tasks"):
        return "jobs of SLURM work on it"
    return "a job is running" if report["running"] else "no job is running"


def _problem_lines(report: dict[str, Any]) -> Iterator[str]:
    for problem in report["problems"]:
        yield f"damaged {problem}"
    if not report["problems"]:
        yield "files   all files have their checksums"
    if report["not_checked"]:
        yield f"        {report['not_checked']} files of an earlier release have no checksum and were not checked"

"""What of a run is done, and whether its files have their checksums, for `diantu status --run`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from ...datasets import InputError, checksums
from ...datasets.checksums import ACCEPT, Problems, read_checked
from ...datasets.files import is_locked
from .folder import LOCK, PLAN, REQUESTS, RUN
from .journal import NAME, Journal

PAGES = ("index.html", "sheet.png")
_FILES = (RUN, REQUESTS, PLAN, NAME, *PAGES)
_AGAIN = "run the same diantu generate again"
_RESTORE = f"restore it from a copy and run {ACCEPT}, or make the run again in another folder"


def describe_run(root: Path, *, failures: bool = False) -> dict[str, Any]:
    """The number of planned pictures, of those by status, and of those that are left to make.

    Raises:
        InputError: if there is no run, or one that is damaged.
    """
    _refuse_missing(root)
    try:
        num_planned = read_checked(root, PLAN).count(b"\n")
    except (OSError, ValueError) as error:
        raise InputError(f"the run in {root} is damaged ({PLAN} {error}); {_RESTORE}") from error
    rows = list(Journal(root).rows.values())
    report: dict[str, Any] = {
        "running": is_locked(root, LOCK),
        "pictures": num_planned,
        "by_status": dict(sorted(Counter(str(row.get("status")) for row in rows).items())),
        "left": num_planned - sum(row.get("status") != "failed" for row in rows),
    }
    if failures:
        report["failures"] = [
            {name: row.get(name, "") for name in ("name", "status", "reason")}
            for row in rows
            if row.get("status") != "done"
        ]
    return report


def verify_run(root: Path) -> Problems:
    """What is wrong with the files of a run; reads all of them.

    Raises:
        InputError: if there is no run.
    """
    _refuse_missing(root)
    names = [name for name in _FILES if (root / name).exists()]
    problems = checksums.verify(root, names, _remedy, is_expected=_began_with_checksums(root))
    try:
        journal = Journal(root)
    except InputError as error:
        return problems.with_sentence(str(error))
    if journal.num_damaged and not problems.mentions(NAME) and not is_locked(root, LOCK):
        problems = problems.with_sentence(f"{NAME} has {journal.num_damaged} damaged lines; {_AGAIN}")
    for row in journal.rows.values():
        if row.get("status") == "done" and not journal.is_intact(row):
            state = "has changed since it was written" if (root / str(row.get("file"))).exists() else "is missing"
            problems = problems.with_sentence(f"{row.get('file')} {state}; {_AGAIN}")
    return problems.with_unchecked(NAME) if journal.num_unsealed and NAME not in problems.unchecked else problems


def accept_run(root: Path) -> int:
    """Notes the checksums of the present files of a run; returns how many there are.

    Raises:
        InputError: if there is no run.
    """
    _refuse_missing(root)
    return checksums.accept(root, [name for name in _FILES if (root / name).exists()], prefixes=[NAME])


def _remedy(name: str) -> str:
    return _AGAIN if name in (NAME, *PAGES) else _RESTORE


def _refuse_missing(root: Path) -> None:
    if not any((root / name).is_file() for name in (RUN, PLAN, NAME)):
        raise InputError(f"there is no run at {root} (no {RUN}); make one with: diantu generate --output {root}")


def _began_with_checksums(root: Path) -> bool:
    try:
        return "checksums" in json.loads((root / RUN).read_bytes())
    except (OSError, ValueError, TypeError, RecursionError):
        return False

"""Compares every file of a gallery with its checksum, for `diantu status --verify`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ...datasets import checksums
from ...datasets.checksums import ACCEPT, Checksum, Problems
from ...datasets.errors import FileError, InputError, first_line
from .layout import (
    ADDED,
    DELETED,
    DELETION_LOCK,
    DUPLICATES,
    JOB_LOCK,
    LEDGER,
    MANIFEST,
    MOVES,
    ORIGIN,
    record_path,
    replaced_files,
    space_root,
)
from .ledger import Ledger
from .manifest import Manifest, read_manifest
from .records import committed, is_sealed, problem_of_file, read_part
from .rows.segments import read_record, read_segments, record_name

T = TypeVar("T")

_RESTORE = f"restore it from a copy and run {ACCEPT}"
_INDEX = "run diantu index again"
_REMEDIES = {
    MANIFEST: _RESTORE,
    LEDGER: _RESTORE,
    DELETED: _RESTORE,
    DUPLICATES: "run diantu dedup again",
    MOVES: f"remove it, run {ACCEPT}, and give the moves again with diantu status --relocate",
    ORIGIN: f"it only says where the gallery came from, so run {ACCEPT}",
}


def verify_gallery(root: Path, *, is_running: bool = False) -> Problems:
    """What is wrong with the files of a gallery; reads all of them.

    Args:
        root: the gallery's folder.
        is_running: whether a job is writing to it, so that parts of a further space may still be missing.
    """
    manifest, manifest_says = _tried(lambda: read_manifest(root))
    ledger, ledger_says = _tried(lambda: Ledger(root))
    is_expected = manifest is not None and manifest.has_checksums
    problems = checksums.verify(root, replaced_files(root), _remedy, is_expected=is_expected)
    # A file with the right checksum is right. So these say more only about files of earlier releases.
    for name, says in ((MANIFEST, manifest_says), (LEDGER, ledger_says)):
        if says and not problems.mentions(name) and not problems.mentions(checksums.NAME):
            problems = problems.with_sentence(says)
    for lock in (JOB_LOCK, DELETION_LOCK, checksums.LOCK):
        if (root / lock).exists() and (root / lock).stat().st_size:
            problems = problems.with_sentence(f"{lock} is not empty; remove it while no job is running")
    problems += _of_indexes(root)
    problems += _of_rows(root, manifest)
    problems += _of_added(root, ledger)
    problems += _of_parts(_Place(root=root, name="", remedy="run diantu embed again"), manifest, ledger, is_whole=True)
    for spec in manifest.encoders[1:] if manifest else ():
        place = _Place(
            root=space_root(root, spec.slug),
            name=f"spaces/{spec.slug}/",
            remedy=f"run diantu embed again with all encoders, {spec.name} among them",
        )
        problems += _of_parts(place, manifest, ledger, is_whole=not is_running)
    return problems


def _tried(read: Callable[[], T]) -> tuple[T | None, str]:
    try:
        return read(), ""
    except InputError as error:
        return None, str(error)


def _remedy(name: str) -> str:
    return _REMEDIES.get(name, _INDEX)


def _of_indexes(root: Path) -> Problems:
    """What is wrong with the files beside `index.json`, whose checksums are in `index.json`."""
    problems = Problems()
    for path in sorted(root.glob("index/*/index.json")):
        says = _says(path)
        if says is None:
            continue  # the problem is that of index.json
        file_name = "index.graph" if says.get("file") == "index.graph" else "index.faiss"
        name = path.with_name(file_name).relative_to(root).as_posix()
        expected = says.get("sha256")
        try:
            found = Checksum.of_file(root / name)
        except OSError:
            problems = problems.with_sentence(f"{name} is missing; {_INDEX}")
            continue
        if found.bytes != says.get("bytes") or expected not in (None, found.sha256):
            problems = problems.with_sentence(f"{name} has changed since it was written; {_INDEX}")
        elif expected is None:
            problems = problems.with_unchecked(name)
    return problems


def _of_rows(root: Path, manifest: Manifest | None) -> Problems:
    """What is wrong with the row store beside its list, whose checksum is in `checksums.json`."""
    problems = Problems()
    segments, _ = _tried(lambda: read_segments(root, manifest)) if manifest else ([], "")
    for segment in segments or ():
        try:
            files = read_record(root, segment.number).files
        except (OSError, ValueError, KeyError, TypeError):
            problems = problems.with_sentence(f"{record_name(segment.number)} is missing or damaged; {_INDEX}")
            continue
        for name, entry in files.items():
            if problem := problem_of_file(root / name, entry):
                advice = f"remove {record_name(segment.number)} and {_INDEX}"
                problems = problems.with_sentence(f"{name} {problem}; {advice}")
    return problems


def _of_added(root: Path, ledger: Ledger | None) -> Problems:
    """What is wrong with the images that a program added: such a file has the beginning of its SHA-256 as its name."""
    names = {path.relative_to(root).as_posix() for path in (root / ADDED).glob("*.parquet")}
    names |= {job.shard.uri for job in (ledger.jobs if ledger else ()) if job.shard.uri.startswith(f"{ADDED}/")}
    problems = Problems()
    for name in sorted(names):
        path = root / name
        if not path.is_file():
            problems = problems.with_sentence(f"{name} is missing; restore it from a copy")
        elif not Checksum.of_file(path).sha256.startswith(path.stem):
            problems = problems.with_sentence(f"{name} has changed since it was written; restore it from a copy")
    return problems


def _says(path: Path) -> dict[str, Any] | None:
    try:
        says = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return says if isinstance(says, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A folder with parts: the gallery itself, or one of its spaces, whose paths begin with `name`."""

    root: Path
    name: str
    remedy: str


def _of_parts(place: _Place, manifest: Manifest | None, ledger: Ledger | None, *, is_whole: bool) -> Problems:
    """What is wrong with the parts in a folder; if it is whole, it has all parts of the manifest."""
    listed = dict(manifest.parts) if manifest else {}
    wanted = (number for number, rows in listed.items() if rows or not place.name)
    problems = Problems()
    for number in sorted({*committed(place.root), *(wanted if is_whole else ())}):
        record = place.name + record_path(Path(), number).as_posix()
        part, damage = _tried(lambda number=number: read_part(place.root, number))
        if part is None:
            damage = f"{record} is {'damaged' if damage else 'missing'}"
            advice = f"remove it and {place.remedy}" if damage.endswith("damaged") else place.remedy
            problems = problems.with_sentence(f"{damage}; {advice}")
            continue
        if not is_sealed(place.root, number):
            problems = problems.with_unchecked(record)
        expected = ledger.shard_id(number) if ledger else part.shard["id"]
        if part.shard["id"] != expected or listed.get(number, part.num_rows) != part.num_rows:
            problems = problems.with_sentence(f"{record} belongs to another gallery; remove it and {place.remedy}")
        for name, entry in part.files.items():
            try:
                problem = problem_of_file(place.root / name, entry)
            except FileError as error:
                problem = f"cannot be read ({first_line(error.__cause__ or error)})"
            if problem:
                problems = problems.with_sentence(f"{place.name}{name} {problem}; remove {record} and {place.remedy}")
    return problems


def accept_gallery(root: Path) -> int:
    """Notes the checksums of the present files that jobs replace; returns how many there are.

    Raises:
        InputError: if there is no gallery.
    """
    if not (root / MANIFEST).is_file():
        raise InputError(f"there is no gallery at {root} (no {MANIFEST}); give the folder of a gallery")
    return checksums.accept(root, replaced_files(root))

"""Writes a gallery without its deleted rows into a new folder. Processes that have the old one open are not disturbed.

Shapes: N rows of the old gallery, or of one of its parts.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ...datasets.checksums import LEFT_BEHIND, write_checked, write_checked_json
from ...datasets.errors import InputError
from ...datasets.files import TEMPORARY, exclusive, read_text, replacing, sha256, sync_folder, writing
from ..store.layout import (
    ADDED,
    DELETION_LOCK,
    JOB_LOCK,
    LEDGER,
    ORIGIN,
    record_path,
    remove_temporary_files,
    space_root,
)
from ..store.ledger import read_ledger
from ..store.manifest import Manifest, read_manifest
from ..store.moves import Moves
from ..store.parts import write_rows_of_part
from ..store.records import REMEDY, committed, read_part, verify_part
from ..store.snapshot import Snapshot
from .deletion import PATIENCE_SECONDS
from .merging import MERGED_ROWS, groups_of, join_parts

# The source of an unfinished compaction; it stays in the new gallery to document where that comes from.
_BEFORE_ORIGIN = (JOB_LOCK, f"{ORIGIN}{TEMPORARY}", *LEFT_BEHIND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """What a compaction did.

    Attributes:
        num_rows: rows of the new gallery.
        num_dropped: deleted rows that it does not have.
        num_linked: parts that lost no rows and share their files with the old gallery, or are copies if that is on
            another file system.
        num_rewritten: parts that lost rows.
        num_merged: parts whose rows are in another part now.
    """

    num_rows: int
    num_dropped: int
    num_linked: int
    num_rewritten: int
    num_merged: int = 0


def compact(root: str | Path, output: str | Path, *, merge: bool = False, show_progress: bool = False) -> Compacted:
    """Writes a gallery without its deleted rows into a new folder. Rows get new numbers, parts keep theirs.

    The ledger is copied, so embedding the same shards into the new gallery adds nothing. The index is not copied. A
    compaction that is killed has no `gallery.json`; started again, it ends with the same bytes as one that was not
    killed. A compaction that is complete is not repeated: started again, it changes nothing.

    Args:
        root: the gallery's folder, which does not change.
        output: a new folder, or one that an earlier compaction of the same rows has made or begun.
        merge: join small parts to parts of up to 100 000 rows, in the same order. The parts that were joined stay as
            records without rows. Only parts whose columns have the same types are joined.
        show_progress: a progress bar on stderr.

    Raises:
        InputError: if there is no gallery, a job or a deletion is writing to it, it is damaged, or the output holds
            something else.
    """
    root, output = Path(root), Path(output)
    if output.resolve() == root.resolve() or root.resolve() in output.resolve().parents:
        raise InputError(f"the output {output} is inside the gallery {root}; give a folder outside it")
    read_manifest(root)  # without a gallery, no lock file must be created
    with (
        exclusive(root, JOB_LOCK),
        exclusive(root, DELETION_LOCK, patience=PATIENCE_SECONDS),
        exclusive(output, JOB_LOCK),
    ):
        snapshot = Snapshot.read(root, with_committed=True)
        manifest = snapshot.manifest
        kept = _kept_rows(snapshot)
        numbers = _part_numbers(root, manifest)
        counts = {number: len(kept[number]) if number in kept else count for number, count in manifest.parts}
        spaces = [space_root(root, spec.slug) for spec in manifest.encoders[1:]]
        groups = {group[0]: group for group in groups_of(root, counts.items(), spaces)} if merge else {}
        for first, group in groups.items():
            counts |= {first: sum(counts[number] for number in group)} | dict.fromkeys(group[1:], 0)
        compacted = replace(manifest, parts=tuple(counts.items()), has_checksums=True)
        origin = _origin(snapshot, merge=merge)
        if not _is_complete(output, origin, compacted):
            _claim(output, origin)
            remove_temporary_files(output)
            _transfer(root, output, manifest, numbers, groups, kept, show_progress)
            compacted.save(output)
    joined = {number for group in groups.values() for number in group}
    return Compacted(
        num_rows=compacted.num_rows,
        num_dropped=manifest.num_rows - compacted.num_rows,
        num_linked=len(set(numbers) - joined - set(kept)),
        num_rewritten=len(set(kept) - joined),
        num_merged=len(joined) - len(groups),
    )


def renumbering(snapshot: Snapshot) -> np.ndarray:
    """For each row of the old gallery its row after the compaction, −1 for a deleted row: `N` int64."""
    is_kept_N = np.ones(snapshot.num_rows, bool)
    is_kept_N[snapshot.deleted] = False
    return np.where(is_kept_N, np.cumsum(is_kept_N) - 1, -1)


def _origin(snapshot: Snapshot, *, merge: bool) -> dict[str, Any]:
    """What a compaction is made from: the gallery and its deletions; and whether parts are joined."""
    return {
        "source": str(snapshot.root.resolve()),
        "num_deleted": len(snapshot.deleted),
        "deleted_sha256": sha256(snapshot.deleted.tobytes()),
        **({"merged_rows": MERGED_ROWS} if merge else {}),
    }


def _read_origin(output: Path) -> dict[str, Any] | None:
    """What a folder was compacted from; None if no compaction has begun in it."""
    path = output / ORIGIN
    try:
        return json.loads(read_text(path))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); remove that folder, or give a new one") from error


def _is_complete(output: Path, origin: dict[str, Any], compacted: Manifest) -> bool:
    """Whether an earlier run has transferred all parts; only the index may then be lacking."""
    if not (output / "gallery.json").exists():
        return False
    if _read_origin(output) == origin and read_manifest(output) == compacted:
        return True
    raise InputError(f"{output} is a finished gallery; give a new folder")


def _claim(output: Path, origin: dict[str, Any]) -> None:
    """Notes in a new folder what is compacted into it; continues only with the same gallery, deletions and merging."""
    begun = _read_origin(output)
    if begun is not None:
        if begun != origin:
            before, now = map(_described, (begun, origin))
            raise InputError(
                f"{output} holds an unfinished compaction of {before}, this one is of {now}: remove that folder, or "
                "give a new one"
            )
    elif any(path.name not in _BEFORE_ORIGIN for path in output.iterdir()):
        raise InputError(f"{output} is neither empty nor an unfinished compaction; give a new folder")
    else:
        write_checked_json(output, ORIGIN, origin)


def _described(origin: dict[str, Any]) -> str:
    merging = "parts joined" if "merged_rows" in origin else "parts as they are"
    return f"{origin['source']} with {origin['num_deleted']} deleted rows and {merging}"


def _transfer(
    root: Path,
    output: Path,
    manifest: Manifest,
    numbers: list[int],
    groups: dict[int, list[int]],
    kept: dict[int, np.ndarray],
    show_progress: bool,
) -> None:
    """Brings everything but `gallery.json` to the new folder, and flushes it to disk."""
    places = [(space_root(root, spec.slug), space_root(output, spec.slug)) for spec in manifest.encoders[1:]]
    places.append((root, output))  # the main space last, because with it the part exists
    joined = {number for group in groups.values() for number in group[1:]}
    for number in tqdm(numbers, unit=" parts", disable=not show_progress, dynamic_ncols=True):
        for source, target in places if number not in joined else ():
            if number in groups:
                _join_parts(source, target, groups[number], kept)
            else:
                _compact_part(source, target, number, kept.get(number))
    for path in sorted((root / ADDED).glob("*.parquet")):
        _link(path, output / ADDED / path.name)
    if (moves := Moves.read(root)).pairs:
        replace(moves, root=output).save()
    if (ledger := read_ledger(root)) is not None:
        write_checked(output, LEDGER, ledger)
    for folder, _, _ in os.walk(output):  # the links, too, must be on disk before gallery.json is
        with writing(Path(folder)):
            sync_folder(Path(folder))


def _part_numbers(root: Path, manifest: Manifest) -> list[int]:
    """All committed parts, including those after an unfinished part, which gallery.json does not list yet."""
    numbers = committed(root)
    for number, count in manifest.parts:
        part = read_part(root, number)
        if part is None or part.num_rows != count:
            found = "no commit record" if part is None else f"{part.num_rows} rows"
            raise InputError(
                f"part {number:05d} of {root} has {found}, {count} rows are in gallery.json; "
                "run diantu embed to write it again, then compact"
            )
    return sorted(numbers)


def _kept_rows(snapshot: Snapshot) -> dict[int, np.ndarray]:
    """For each part that loses rows, the rows of the part that stay."""
    is_kept_N = renumbering(snapshot) >= 0
    kept = {}
    first = 0
    for number, count in snapshot.manifest.parts:
        here_N = is_kept_N[first : first + count]
        if not here_N.all():
            kept[number] = np.flatnonzero(here_N)
        first += count
    return kept


def _compact_part(source: Path, target: Path, number: int, rows_N: np.ndarray | None) -> None:
    """Transfers a part (or its vectors in a further space) as a whole, or only the rows that stay."""
    part = read_part(source, number)
    if part is None:  # these vectors in a further space do not exist yet; diantu embed adds them to the new gallery
        return
    if _is_whole(target, number):
        return
    if rows_N is None:
        names = [*part.files, record_path(source, number).relative_to(source).as_posix()]
        for name in names:  # the record last, because with it the part exists
            _link(source / name, target / name)
        return
    problems = verify_part(source, part)  # otherwise damage would get a new checksum
    if problems:
        raise InputError(f"part {part.name} of {source} is damaged ({'; '.join(problems)}); {REMEDY}")
    write_rows_of_part(target, source, part, rows_N)


def _join_parts(source: Path, target: Path, numbers: list[int], kept: dict[int, np.ndarray]) -> None:
    """Transfers some parts as one, unless an earlier attempt has, or these vectors in a further space do not exist."""
    if read_part(source, numbers[0]) is not None and not all(_is_whole(target, number) for number in numbers):
        join_parts(target, source, numbers, kept)


def _is_whole(root: Path, number: int) -> bool:
    """Whether an earlier attempt transferred a part; a power cut may have kept the record and lost links to files."""
    part = read_part(root, number)
    return part is not None and all((root / name).exists() for name in part.files)


def _link(path: Path, target: Path) -> None:
    """Links a file, or copies it where that is impossible. Files of parts are never changed in place."""
    if not path.exists():
        raise InputError(f"{path} is missing; {REMEDY}")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
    try:
        os.link(path, target, follow_symlinks=False)  # imported vectors may be symbolic links, which stay links
    except OSError:  # another file system, or one without links
        with replacing(target) as temporary:
            shutil.copyfile(path, temporary)

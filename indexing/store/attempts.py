"""Attempts: where workers write parts, until the process that holds the gallery's lock accepts them.

`attempts/<part>/<unique>/` is laid out like the gallery, and its record, which is written last, is a draft of the
commit record. A worker never writes to a final name. So a worker that was given up but still lives can do no harm, the
same shard can be tried twice at once, and the first complete attempt counts.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...datasets.errors import InputError
from ...datasets.files import sync_folder, writing
from .layout import ATTEMPTS, part_name, record_path
from .records import read_part


def new_attempt(number: int) -> str:
    """The name of a folder for one more attempt at a part, relative to the gallery. Its writer creates it."""
    return f"{ATTEMPTS}/{part_name(number)}/{uuid.uuid4().hex}"


def accept(root: Path, number: int, attempt: str) -> bool:
    """Moves a complete attempt into place, its record last, and removes the other attempts at the part.

    Only the process that holds the gallery's lock calls this. A kill in between leaves a part without a record, which
    does not exist.

    Args:
        root: the gallery's folder.
        number: the part's number.
        attempt: the attempt's folder, relative to the gallery.

    Returns:
        Whether it was accepted: False if the gallery has what it holds already.

    Raises:
        InputError: if it is not complete.
    """
    folder = root / attempt
    # The main space is last, because the part exists from its record on.
    places = [*sorted((folder / "spaces").glob("*")), folder]
    drafts = [place.relative_to(folder) for place in places if record_path(place, number).exists()]
    if not drafts:
        raise InputError(f"{folder} holds no complete attempt at part {part_name(number)}; run diantu embed again")
    is_new = not record_path(root / drafts[-1], number).exists()
    for place in drafts if is_new else ():
        _move(folder / place, root / place, number)
    shutil.rmtree(folder.parent, ignore_errors=True)
    return is_new


@contextmanager
def shown_to_others(root: Path) -> Iterator[Path]:
    """A file with a name of its own in a gallery: another machine that finds it sees this gallery, and no copy."""
    path = root / ATTEMPTS / f"{uuid.uuid4().hex}.here"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def remove_attempts(root: Path) -> None:
    """Removes all attempts of jobs that have ended. Only while the gallery's lock is held."""
    shutil.rmtree(root / ATTEMPTS, ignore_errors=True)


def _move(source: Path, target: Path, number: int) -> None:
    part = read_part(source, number)
    assert part is not None, "it was there a moment ago, and only we remove it"
    record = record_path(target, number)
    with writing(record):
        record.unlink(missing_ok=True)  # of a space, where the main record was removed to rebuild the part
    for name in part.files:
        with writing(target / name):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).replace(target / name)
    for folder in {(target / name).parent for name in part.files}:
        sync_folder(folder)
    with writing(record):
        record.parent.mkdir(parents=True, exist_ok=True)
        record_path(source, number).replace(record)
        sync_folder(record.parent)

"""Tells a gallery that its shards, or the images of its imported rows, have moved: pixels of hits are found again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from ...datasets.errors import InputError
from ...datasets.files import exclusive
from ...datasets.places import resolve
from ...datasets.readers.extensions import IMPORTED
from ..store.layout import JOB_LOCK
from ..store.ledger import Ledger
from ..store.manifest import read_manifest
from ..store.moves import Moves


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocated:
    """What a relocation found.

    Attributes:
        num_moved: shards whose recorded place begins with the old one.
        missing: those of them that are not at their new place, by that place.
    """

    num_moved: int
    missing: tuple[str, ...]


def relocate(gallery: str | Path, old: str, new: str) -> Relocated:
    """Declares that shards have moved: what was below `old` is below `new` now.

    Vectors, metadata and row ids do not change. Hits give the pixels from the new place, and a job over the new place
    knows the shards again. Moves add up: after a second move, give the place of the first as `old`.

    Args:
        gallery: the gallery's folder.
        old: what the shards' places begin with: a folder, a URI such as s3://bucket/folder, or one shard.
        new: what they begin with now.

    Raises:
        InputError: if there is no gallery, no shard is below `old`, none of them is below `new`, or a job is running.
    """
    root = Path(gallery)
    read_manifest(root)
    old, new = _place(old), _place(new)
    with exclusive(root, JOB_LOCK):
        before = Moves.read(root)
        after = before.moved(old, new)
        jobs = Ledger(root).jobs
        recorded = sorted({job.shard.uri for job in jobs})
        moved = {before.now(uri): after.now(uri) for uri in recorded if before.now(uri) != after.now(uri)}
        # Imported rows have no shard but the paths of their images, which may be anywhere.
        if not moved and not any(job.shard.format == IMPORTED for job in jobs):
            raise InputError(f"no shard of {root} is in {old}; its shards are in {_folders(map(before.now, recorded))}")
        missing = tuple(place for place in moved.values() if not _exists(place))
        if moved and len(missing) == len(moved):
            raise InputError(
                f"none of the {len(moved)} shards that were in {old} is in {new} ({missing[0]} does not exist); give "
                "the folder that they are in now"
            )
        after.save()
    return Relocated(num_moved=len(moved), missing=missing)


def _place(given: str) -> str:
    """A place as galleries record it: a path from the root, whatever folder a command runs in, or a URI."""
    if not given.strip():
        raise InputError("a place is empty; give the folder, URI or shard that the shards were in and are in now")
    is_uri = "://" in given or PureWindowsPath(given).is_absolute()
    return given if is_uri else os.path.abspath(given)


def _exists(place: str) -> bool:
    filesystem, path = resolve(place)
    return filesystem.exists(path)


def _folders(places: Iterable[str]) -> str:
    """The folders of some places, for a message."""
    folders = sorted({place.rpartition("/")[0] for place in places})
    return ", ".join(folders[:3]) + (", …" if len(folders) > 3 else "")

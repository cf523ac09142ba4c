"""Plain folders: every image below them is a sample. Captions come from files beside the images or from tables."""

from __future__ import annotations

import logging
import os
import stat
from collections import Counter
from collections.abc import Iterator

from fsspec import AbstractFileSystem

from ..errors import Reason
from ..files import file_error
from ..places import is_local, join
from ..tables import Lookup
from ..text import is_unicode
from ..types import Entry, Failure, Place, Scan, Shard, Span
from .reader import Reader, read_range
from .sidecars import FolderFiles

log = logging.getLogger(__name__)

# A folder that links lead to is read under at most so many paths: links to folders with links multiply.
_MAX_PATHS = 16


def find_files(filesystem: AbstractFileSystem, root: str) -> dict[str, int]:
    """The files below a folder, by their path relative to it, with their sizes.

    On this machine symbolic links to files and folders are followed, also those that lead out of the folder: the cache
    of Hugging Face holds nothing else. A link to a folder that it is in is left out. What is no regular file, a link
    that leads nowhere included, is found with the size 0; reading it says what it is. A folder inside that cannot be
    read is left out with a warning.

    Raises:
        FileError: if the folder itself cannot be read.
    """
    if is_local(filesystem):
        return dict(_walk(root))
    found = filesystem.find(root, detail=True)
    assert isinstance(found, dict)
    return {
        name[len(root) :].lstrip("/"): info.get("size") or 0
        for name, info in found.items()
        if info.get("type") == "file"
    }


def files_of(filesystem: AbstractFileSystem, folder: str) -> dict[str, int]:
    """The files in a folder, without those of its subfolders, by their whole path, with their sizes.

    Raises:
        OSError: if the folder cannot be read.
    """
    if is_local(filesystem):
        with os.scandir(folder) as entries:
            return {entry.path: entry.stat().st_size for entry in entries if entry.is_file()}
    found = filesystem.ls(folder, detail=True)
    return {str(info["name"]): info.get("size") or 0 for info in found if info.get("type") == "file"}


def _walk(root: str) -> Iterator[tuple[str, int]]:
    visits: Counter[tuple[int, int]] = Counter()
    # Folders that are still to be read, with those that they are in; they may be nested deeper than calls may be.
    coming: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while coming:
        folder, above = coming.pop()
        location = f"{root}/{folder}" if folder else root
        try:
            status = os.stat(location)
            entries = sorted(os.scandir(location), key=lambda entry: entry.name)
        except OSError as error:
            if not folder:
                raise file_error(error, root, "read") from error
            log.warning("the folder %s cannot be read, and its files are left out: %s", location, error)
            continue
        here = (status.st_dev, status.st_ino)
        visits[here] += 1
        if here in above or visits[here] > _MAX_PATHS:
            why = "leads back to a folder that it is in" if here in above else f"is path number {visits[here]} to it"
            log.warning("the link %s is not followed, because it %s", location, why)
            continue
        folders = []
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                status = entry.stat()
            except OSError:  # a link that leads nowhere, or in a circle
                yield path, 0
                continue
            if stat.S_ISDIR(status.st_mode):
                folders.append((path, above | {here}))
            else:
                yield path, status.st_size if stat.S_ISREG(status.st_mode) else 0
        coming += reversed(folders)


def scan(shard: Shard) -> Scan:
    """Lists the shard's members. A key is the path below the folder without its ending.

    If two images differ in their ending only, the later one keeps the ending in its key. Captions and fields come from
    `<stem>.txt` and `<stem>.json` beside the image, where they exist, and from the shard's tables.

    Raises:
        InputError: if a table of captions cannot be used.
    """
    files = FolderFiles(shard.uri)
    tables = Lookup(shard.uri, shard.captions, by_name=shard.has_unique_names, is_image=files.has)
    entries: list[Entry] = []
    failures: list[Failure] = []
    taken: set[str] = set()
    for member in shard.members:
        stem = member.rpartition(".")[0]
        key = member if stem in taken else stem
        taken.add(key)
        if not is_unicode(member):
            readable = member.encode("utf-8", "replace").decode("utf-8")
            detail = "the file's name is not valid UTF-8; rename it"
            failures.append(Failure(key=readable, shard=shard.uri, reason=Reason.UNREADABLE, detail=detail))
            continue
        entries.append(
            Entry(
                key=key,
                row=len(entries),
                image_path=member,
                image=_span(shard.uri, member),
                caption=_optional(shard.uri, files.sidecar(member, ".txt")),
                fields=_optional(shard.uri, files.sidecar(member, ".json")),
                metadata=tables.row(member),
            )
        )
    return Scan(entries=tuple(entries), failures=failures, num_entries=len(entries) + len(failures))


def locate(place: Place) -> Span:
    """The image is a file below the folder."""
    return _span(place.shard, place.image_path)


def _optional(folder: str, member: str | None) -> Span | None:
    return None if member is None else _span(folder, member)


def _span(folder: str, member: str) -> Span:
    return Span(uri=join(folder, member))


READER = Reader(format="folder", endings=(), scan=scan, read=read_range, locate=locate)

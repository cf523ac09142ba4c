"""Plain folders: every image below them is a sample. Captions come from files beside the images or from tables."""

from __future__ import annotations

from ..errors import Reason
from ..tables import Lookup
from ..types import Entry, Failure, Place, Scan, Shard, Span
from .reader import Reader, read_range
from .sidecars import list_files, sidecar


def scan(shard: Shard) -> Scan:
    """Lists the shard's members. A key is the path below the folder without its ending.

    If two images differ in their ending only, the later one keeps the ending in its key. Captions and fields come from
    `<stem>.txt` and `<stem>.json` beside the image, where they exist, and from the shard's tables.

    Raises:
        InputError: if a table of captions cannot be used.
    """
    tables = Lookup(
        shard.uri, shard.captions, by_name=shard.has_unique_names, is_image=lambda path: _has_file(shard.uri, path)
    )
    entries: list[Entry] = []
    failures: list[Failure] = []
    taken: set[str] = set()
    for member in shard.members:
        stem = member.rpartition(".")[0]
        key = member if stem in taken else stem
        taken.add(key)
        if not _is_unicode(member):
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
                caption=_optional(shard.uri, sidecar(shard.uri, member, ".txt")),
                fields=_optional(shard.uri, sidecar(shard.uri, member, ".json")),
                metadata=tables.row(member),
            )
        )
    return Scan(entries=tuple(entries), failures=failures, num_entries=len(entries) + len(failures))


def locate(place: Place) -> Span:
    """The image is a file below the folder."""
    return _span(place.shard, place.image_path)


def _is_unicode(name: str) -> bool:
    """False for a name that the file system gave as bytes outside UTF-8 (surrogates in Python)."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _has_file(folder: str, path: str) -> bool:
    place, _, name = path.rpartition("/")
    return name in list_files(f"{folder}/{place}" if place else folder).names


def _optional(folder: str, member: str | None) -> Span | None:
    return None if member is None else _span(folder, member)


def _span(folder: str, member: str) -> Span:
    return Span(uri=f"{folder}/{member}")


READER = Reader(format="folder", endings=(), scan=scan, read=read_range, locate=locate)

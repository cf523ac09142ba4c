"""Plain folders: every picture below them is a sample; captions come from files beside it or from one table."""

from __future__ import annotations

from ..decoding import EXTENSIONS
from ..errors import Reason
from ..types import Entry, Failure, Scan, Shard, Span
from .captions import find_row, read_table


def is_picture(path: str) -> bool:
    """Whether a file's ending is one that is taken for a picture."""
    stem, dot, extension = path.rpartition(".")
    return bool(stem and dot) and extension.lower() in EXTENSIONS


def scan(shard: Shard) -> Scan:
    """Lists the shard's members; a key is the path below the folder less its ending.

    Where two pictures differ in their ending alone, the later one keeps it in its key. Captions and fields come from
    `<stem>.txt` and `<stem>.json` beside the picture, where they exist, and from the shard's table.

    Raises:
        InputError: if the table of captions cannot be used.
    """
    table = read_table(shard.captions) if shard.captions else {}
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
                image=_span(shard, member),
                caption=_span(shard, f"{stem}.txt"),
                fields=_span(shard, f"{stem}.json"),
                metadata=find_row(table, member, by_name=shard.has_unique_names),
            )
        )
    return Scan(entries=tuple(entries), failures=failures, num_entries=len(entries))


def _is_unicode(text: str) -> bool:
    """False for a name that the file system gave as bytes outside UTF-8 (surrogates in Python)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _span(shard: Shard, member: str) -> Span:
    return Span(uri=f"{shard.uri}/{member}")

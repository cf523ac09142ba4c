"""The members of an archive → samples. Members that share a key are one sample (`0007.jpg`, `0007.txt`, `0007.json`).

A key is a member's path without its last ending. webdataset itself cuts names at the first dot, so `0001.left.png`,
`0001.right.png` and `0001.txt` are one sample there. Here each image is a row: an image without a caption (or fields)
of its own takes those of `0001`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..decoding import IMAGE_EXTENSIONS
from ..errors import Reason
from ..types import Entry, Failure, Span
from .reader import MAX_MEMBER_BYTES, MAX_TEXT_BYTES

# A member's role by its ending. A member with another ending has that ending, with its dot, as its role: no name of a
# role begins with a dot.
_ROLES = {"txt": "caption", "json": "fields"}
_NO_ENDING = "no ending"
_ENDINGS = {role: f".{ending}" for ending, role in _ROLES.items()}


def plain_name(name: str) -> str:
    """A member's path without what does not matter: `./a`, `.//a`, `/a`, `b/../a` and `../a` are all `a`."""
    if "/" not in name and name not in (".", ".."):
        return name
    return posixpath.normpath(f"/{name}").lstrip("/")


class Samples:
    """Collects the members of an archive into samples, and the failures on the way.

    Args:
        shard: the URI of the archive.
        rows: returns what a table beside the archive says about a key; {} if nothing.
    """

    def __init__(self, shard: str, rows: Callable[[str], Mapping[str, Any]] = lambda key: {}) -> None:
        self.failures: list[Failure] = []
        self._shard = shard
        self._rows = rows
        # Key → role → span; None for a member that exists but was listed as a failure.
        self._groups: dict[str, dict[str, Span | None]] = {}
        self._paths: dict[str, str] = {}

    def fail(self, key: str, reason: Reason, detail: str) -> None:
        """Lists something that is left out."""
        self.failures.append(Failure(key=key, shard=self._shard, reason=reason, detail=detail))

    def add(self, name: str, span: Span, size: int) -> None:
        """Adds a member by its plain name, with the size that its bytes will have when they are read.

        Members with unknown endings, or none, count too, so that a sample without an image is recorded as a failure.
        """
        if not name:
            self.fail("", Reason.UNREADABLE, "a member has no name")
            return
        key, role = _split(name)
        if self._groups.get(key, {}).get(role) is not None:
            self.fail(key, Reason.DUPLICATE_KEY, f"{name} is a second {role} under this key")
            return
        allowed = {"image": MAX_MEMBER_BYTES, "caption": MAX_TEXT_BYTES, "fields": MAX_TEXT_BYTES}.get(role)
        if allowed is not None and size > allowed:
            detail = f"{name} has {size} bytes; at most {allowed} are read of such a member"
            self.lose(name, Reason.TOO_LARGE, detail)
            return
        self._groups.setdefault(key, {})[role] = span
        if role == "image":
            self._paths[key] = name

    def lose(self, name: str, reason: Reason, detail: str) -> bool:
        """Lists a member that cannot be used, if it is an image, a caption or fields; returns whether it is."""
        key, role = _split(name)
        if role not in ("image", "caption", "fields"):
            return False
        self.fail(key, reason, detail)
        self._groups.setdefault(key, {}).setdefault(role, None)
        return True

    def entries(self) -> list[Entry]:
        """The samples that have an image, in the order in which their keys appeared; lists the others as failures."""
        found: list[Entry] = []
        sharing = {parent for key, group in self._groups.items() if "image" in group for parent in _parents(key)}
        for key, group in self._groups.items():
            image = group.get("image")
            if image is not None:
                found.append(self._entry(key, len(found), image))
            elif "image" not in group and key not in sharing and any(group.values()):
                endings = ", ".join(_ENDINGS.get(role, role) for role in group)
                self.fail(key, Reason.NO_IMAGE, f"none of this sample's members ({endings}) is an image")
        return found

    def _entry(self, key: str, row: int, image: Span) -> Entry:
        fields = self._nearest(key, "fields")
        # What a table beside the archive says counts where there are no fields.
        rows = () if fields else (self._rows(candidate) for candidate in (key, *_parents(key)))
        return Entry(
            key=key,
            row=row,
            image_path=self._paths[key],
            image=image,
            caption=self._nearest(key, "caption"),
            fields=fields,
            metadata=next(filter(None, rows), {}),
        )

    def _nearest(self, key: str, role: str) -> Span | None:
        """The caption or the fields of a sample, or of the nearest one whose key is the beginning of its key."""
        for candidate in (key, *_parents(key)):
            group = self._groups.get(candidate, {})
            if role in group:
                return group[role]
        return None


def _split(name: str) -> tuple[str, str]:
    """The key and the role of a member."""
    folder, slash, base = name.rpartition("/")
    stem, dot, extension = base.rpartition(".")
    extension = extension.lower()
    role = "image" if extension in IMAGE_EXTENSIONS else _ROLES.get(extension, f".{extension}")
    return f"{folder}{slash}{stem or base}", role if dot else _NO_ENDING


def _parents(key: str) -> Iterator[str]:
    """The keys that a key continues after a dot, the longest first: `0001` for `0001.left`."""
    folder, slash, base = key.rpartition("/")
    while "." in base.lstrip("."):
        base = base.rpartition(".")[0]
        yield f"{folder}{slash}{base}"

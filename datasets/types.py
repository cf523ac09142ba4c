"""The values that leave this stage: shards, entries, samples, failures, and the errors that users read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One unit of work: a tar, or some files of a folder.

    `members` are the paths, relative to `uri`, of a folder's pictures; a tar has none, its members are found when it
    is scanned. `captions` is the URI of a table of captions and further columns for those files.
    """

    uri: str
    format: str
    size_bytes: int
    members: tuple[str, ...] = ()
    captions: str | None = None
    has_unique_names: bool = False  # no two pictures of the folder have the same name

    @property
    def id(self) -> str:
        """16 hex digits that stay the same as long as the place and the members do (not the size)."""
        text = "\0".join((self.format, self.uri, *self.members))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def without(self, members: set[str]) -> Shard:
        """The same folder less some of its members."""
        return replace(self, members=tuple(m for m in self.members if m not in members))

    def split(self, num_members: int) -> Iterator[Shard]:
        """The same shard in pieces of at most `num_members` files; a tar stays whole."""
        if not self.members:
            yield self
        for start in range(0, len(self.members), num_members):
            yield replace(self, members=self.members[start : start + num_members])


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where some bytes lie: a whole file, `length` bytes from `offset` of a tar, or a cell of a parquet file.

    `data` holds the bytes where the file can only be read from front to back, so that they were read with its headers.
    """

    uri: str
    offset: int | None = None
    length: int | None = None
    column: str | None = None
    row: int | None = None
    data: bytes | None = field(default=None, repr=False)

    @property
    def is_inside(self) -> bool:
        """Whether the bytes are part of a larger file, which fails as a whole if it cannot be read."""
        return self.offset is not None or self.column is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A sample that a scan of a shard has found, not yet read. `row` is its position in the shard."""

    key: str
    row: int
    image_path: str
    image: Span
    caption: Span | None = None
    fields: Span | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One picture with all that is known of it: the encoded bytes and its metadata travel as one record."""

    key: str
    row: int
    image: bytes
    image_path: str
    offset: int | None
    length: int | None
    caption: str | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A sample that was left out, and why. `detail` is a sentence for people."""

    key: str
    shard: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a look at a shard's headers finds.

    Entries may come one by one as the shard is read, so that their number is not known before; `failures` is complete
    when they have been iterated over.
    """

    entries: Iterable[Entry]
    failures: list[Failure]
    num_entries: int | None

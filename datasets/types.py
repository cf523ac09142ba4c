"""The values that leave this stage: shards, entries, samples and failures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One unit of work: a file that holds many images, or some files of a folder.

    `format` names the reader. `members` are the paths of a folder's images, relative to `uri`; other shards have none,
    because a scan finds their members. `captions` are the URIs of tables with captions and further columns for the
    members, those of deeper folders first. `has_unique_names` is True if no two images of the folder have the same
    name.
    """

    uri: str
    format: str
    size_bytes: int
    members: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    has_unique_names: bool = False

    def __post_init__(self) -> None:
        # Ledgers of 0.1.0 have one URI or null; JSON has lists.
        given: Any = self.captions
        tables = (given,) if isinstance(given, str) else tuple(given or ())
        object.__setattr__(self, "captions", tables)

    @property
    def id(self) -> str:
        """16 hex digits that depend on the format, the place and the members only, not on the size."""
        identity = "\0".join((self.format, self.uri, *self.members))
        return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def without(self, members: set[str]) -> Shard:
        """The same folder without some of its members."""
        return replace(self, members=tuple(m for m in self.members if m not in members))

    def split(self, num_members: int) -> Iterator[Shard]:
        """Yields the shard in pieces of at most `num_members` files; a shard without members stays whole."""
        if not self.members:
            yield self
        for start in range(0, len(self.members), num_members):
            yield replace(self, members=self.members[start : start + num_members])


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where some bytes are: a whole file, `length` bytes from `offset` of a file, or a member that a reader knows.

    A span travels to worker processes, so it names its reader by `format` and holds no function. Without a format the
    bytes are the file, or the range of it, as it is stored. `member` says which part of the file a reader must read,
    in the reader's own words (a name in an archive, a cell of a table).
    `data` holds the bytes themselves where a file can only be read from front to back.

    Raises:
        ValueError: if it has a member but no format, because nobody could read it.
    """

    uri: str
    offset: int | None = None
    length: int | None = None
    member: str | None = None
    format: str | None = None
    data: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.member is not None and self.format is None:
            raise ValueError(f"a span of the member {self.member!r} of {self.uri} must name the format of its reader")

    @property
    def is_inside(self) -> bool:
        """Whether the bytes are part of a larger file. If that file cannot be read, the whole shard fails."""
        return self.offset is not None or self.member is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an image was when it was embedded: four columns that every row of a gallery's metadata has."""

    shard: str
    offset: int | None
    length: int | None
    image_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A sample that a scan has found but not read.

    `key` is unique in its shard, and `row` is the position among the shard's entries, from 0.
    `image_path` is the image's name in the shard; it is stored in the gallery's metadata, and with `shard`, `offset`
    and `length` it must be enough to find the image again. `caption` and `fields` (a JSON object) may point to files
    that do not exist. `metadata` are further fields that the scan knows already. `encoding` is the older encoding of
    most of the shard's text files, for those that could be UTF-8 as well; see `text.common_encoding`.
    """

    key: str
    row: int
    image_path: str
    image: Span
    caption: Span | None = None
    fields: Span | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    encoding: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One image with all that is known about it: the encoded bytes and the metadata travel as one record.

    `caption` is the first caption. If there are several, the field `captions` of the metadata is the list of all.
    `notes` say what was left out of the metadata, and why; the image is embedded all the same.
    """

    key: str
    row: int
    image: bytes
    image_path: str
    offset: int | None
    length: int | None
    caption: str | None
    metadata: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A sample that was left out, and why. `shard` is the shard's URI, `detail` a sentence for people."""

    key: str
    shard: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """The result of scanning a shard.

    `entries` may be an iterator that reads the shard as it goes; then `failures` grows until it is exhausted.
    `num_entries` is the number of entries and failures together, None if that is not known in advance.
    """

    entries: Iterable[Entry]
    failures: list[Failure]
    num_entries: int | None

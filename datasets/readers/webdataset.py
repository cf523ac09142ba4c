"""Webdataset tars: files that share a key are one sample (see `members`).

Local tars are indexed by their headers and read by offset, so that many processes can read one tar. Compressed tars are
read twice from front to back: once for the index, once for the bytes. Remote tars are copied to a temporary file first.
All three give the same samples. A remote tar's offsets are stored too; a compressed tar has none, so no single image
can be read from it later.
"""

from __future__ import annotations

import posixpath
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ..errors import Reason, ShardError
from ..types import Entry, Place, Scan, Shard, Span
from .captions import read_img2dataset_rows
from .members import Samples, plain_name
from .reader import Reader, read_range
from .streams import OpenedFile
from .tar import EndsWithinError, Gap, Kind, Member, walk

# Bytes that come before their turn are held in memory up to this size, then in a temporary file.
_MAX_HELD_BYTES = 64 << 20
_MAX_LINKS = 40  # in a chain; as many as Linux follows


def scan(shard: Shard) -> Scan:
    """Groups a tar's members by key, in order of first appearance; the members of a sample may be anywhere.

    Links inside the tar are followed. Tars that follow each other in one file are one tar. What cannot be read is
    listed, and what stands before and behind it is kept. A sample without `.json` gets its fields from the parquet
    file that img2dataset writes beside the tar.

    Raises:
        OSError: if the file cannot be read.
        ShardError: if the file is no tar.
    """
    opened = OpenedFile(shard.uri)
    index = _index(opened)
    if index and isinstance(index[0], Gap) and index[0].offset == 0 and len(index) == 1:
        raise ShardError(f"{shard.uri} is not a tar that can be read: {index[0].detail}")
    samples = Samples(shard.uri, _rows_beside(shard.uri))
    _collect(index, samples, shard.uri)
    entries = samples.entries()
    num_entries = len(entries) + len(samples.failures)
    has_offsets = opened.codec is None and shard.format == TAR.format
    if has_offsets and opened.is_local:
        opened.close()
        return Scan(entries=tuple(entries), failures=samples.failures, num_entries=num_entries)
    delivered = _delivered(entries, opened, has_offsets=has_offsets)
    return Scan(entries=delivered, failures=samples.failures, num_entries=num_entries)


def _index(opened: OpenedFile) -> list[Member | Gap]:
    try:
        return list(walk(opened.source()))
    except EndsWithinError as error:
        return list(walk(opened.source(size=error.size, why=error.why)))


def _rows_beside(uri: str) -> Callable[[str], Mapping[str, Any]]:
    """The rows of img2dataset's parquet file by key; the file is read when the first one is asked for."""

    @lru_cache(maxsize=1)
    def rows() -> Mapping[str, Mapping[str, Any]]:
        return read_img2dataset_rows(uri)

    return lambda key: rows().get(key, {})


def _collect(index: Sequence[Member | Gap], samples: Samples, uri: str) -> None:
    links: _Links | None = None
    for found in index:
        name = plain_name(found.name)
        if isinstance(found, Gap):
            if not samples.lose(name, Reason.SHARD_TRUNCATED, found.detail):
                samples.fail(name, Reason.SHARD_TRUNCATED, found.detail)
            continue
        source: Member | str = found
        if found.kind is not Kind.FILE:
            links = links or _Links(index)
            source = links.follow(found)
        if isinstance(source, Member):
            samples.add(name, Span(uri=uri, offset=source.offset, length=source.size), source.size)
        else:
            samples.lose(name, Reason.UNREADABLE, f"{found.name} {source}")


class _Links:
    """Finds the files that hard and symbolic links of a tar lead to, by the names in the tar."""

    def __init__(self, index: Sequence[Member | Gap]) -> None:
        self._files: dict[str, Member] = {}
        self._links: dict[str, str | None] = {}  # None leads out of the tar
        for member in index:
            if isinstance(member, Gap):
                continue
            name = plain_name(member.name)
            if member.kind is Kind.FILE:
                self._files.setdefault(name, member)
            elif member.kind in (Kind.HARD_LINK, Kind.SYMBOLIC_LINK):
                self._links.setdefault(name, _target(member))

    def follow(self, member: Member) -> Member | str:
        """The file that a link leads to; or why there is none, as the end of a sentence that begins with its name."""
        if member.kind is Kind.UNUSABLE:
            return member.problem
        told = f"is a {member.kind.value} to {member.target}"
        place = _target(member)
        for _ in range(_MAX_LINKS):
            if place is None:
                return f"{told}, which leads out of the tar"
            if place in self._files:
                return self._files[place]
            if (step := self._step(place)) == _NOWHERE:
                return f"{told}, which is no file of the tar that can be read"
            place = step
        return f"{told}, and such links lead on in a circle, or through more than {_MAX_LINKS} of them"

    def _step(self, place: str) -> str | None:
        """Where a path leads if one link on it is followed: its own, or that of a folder that it goes through."""
        rest, start = "", place
        while start:
            if start in self._links:
                target = self._links[start]
                return None if target is None else plain_name(f"{target}/{rest}")
            start, _, last = start.rpartition("/")
            rest = f"{last}/{rest}" if rest else last
        return _NOWHERE


_NOWHERE = ""  # no member's plain name


def _target(link: Member) -> str | None:
    """The plain name that a link points to; None if that is outside the tar."""
    if link.kind is Kind.HARD_LINK:
        return plain_name(link.target)
    path = posixpath.normpath(posixpath.join(posixpath.dirname(plain_name(link.name)), link.target))
    return None if path.startswith(("/", "../")) or path == ".." else path


def _delivered(entries: Sequence[Entry], opened: OpenedFile, *, has_offsets: bool) -> Iterator[Entry]:
    """The entries with the bytes that they point to.

    Raises:
        OSError: if the file cannot be read, or is no longer what it was when it was indexed.
    """
    spans = [span for entry in entries for span in (entry.image, entry.caption, entry.fields) if span]
    with _Held(opened, spans) as held:

        def filled(span: Span) -> Span:
            data = held.take(span)
            return replace(span, data=data) if has_offsets else Span(uri=span.uri, data=data)

        for entry in entries:
            yield replace(
                entry,
                image=filled(entry.image),
                caption=entry.caption and filled(entry.caption),
                fields=entry.fields and filled(entry.fields),
            )


class _Held:
    """Bytes of a file that is read from front to back, in any order; those that come before their turn are held.

    Where the members of a sample stand side by side, only those of one sample are held.
    """

    def __init__(self, opened: OpenedFile, spans: Sequence[Span]) -> None:
        self._opened = opened
        self._source = opened.source()
        self._uses = Counter(_range(span) for span in spans)
        self._coming = iter(sorted(self._uses))
        self._places: dict[tuple[int, int], int] = {}
        self._file = tempfile.SpooledTemporaryFile(max_size=_MAX_HELD_BYTES)  # noqa: SIM115

    def __enter__(self) -> _Held:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()
        self._opened.close()

    def take(self, span: Span) -> bytes:
        """The bytes of a span. A span that was given several times can be taken as often."""
        wanted = _range(span)
        self._uses[wanted] -= 1
        if wanted in self._places:
            self._file.seek(self._places[wanted])
            data = self._file.read(wanted[1])
        else:
            data = self._read_to(wanted)
            if self._uses[wanted]:
                self._hold(wanted, data)
        if not self._uses[wanted] and self._places.pop(wanted, None) is not None and not self._places:
            self._file.seek(0)
            self._file.truncate()
        return data

    def _read_to(self, wanted: tuple[int, int]) -> bytes:
        for offset, length in self._coming:
            self._source.skip(offset - self._source.position)
            data = self._source.read(length)
            if len(data) < length:
                raise OSError(f"the file ends at byte {self._source.position} now; it has changed while it was read")
            if (offset, length) == wanted:
                return data
            self._hold((offset, length), data)
        raise AssertionError("a span that was not announced, or was taken too often")

    def _hold(self, span: tuple[int, int], data: bytes) -> None:
        self._places[span] = self._file.seek(0, 2)
        self._file.write(data)


def _range(span: Span) -> tuple[int, int]:
    assert span.offset is not None
    assert span.length is not None
    return span.offset, span.length


def _locate(place: Place) -> Span:
    if place.offset is None:
        return _locate_compressed(place)
    return Span(uri=place.shard, offset=place.offset, length=place.length)


def _locate_compressed(place: Place) -> Span:
    raise FileNotFoundError(
        f"{place.image_path} is in the compressed tar {place.shard}, from which no single image can be read"
    )


def _compressed(name: str, *endings: str) -> Reader:
    return Reader(format=f"webdataset.{name}", endings=endings, scan=scan, read=read_range, locate=_locate_compressed)


TAR = Reader(format="webdataset", endings=(".tar",), scan=scan, read=read_range, locate=_locate)
# The first bytes of a file decide how it is decompressed, because endings are wrong now and then.
COMPRESSED = (
    _compressed("gz", ".tar.gz", ".tgz"),
    _compressed("bz2", ".tar.bz2", ".tbz2", ".tbz"),
    _compressed("xz", ".tar.xz", ".txz"),
    _compressed("zst", ".tar.zst", ".tar.zstd", ".tzst"),
)

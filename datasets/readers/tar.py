"""Walks over the headers of a tar. No header is believed before it was checked, and no data are read.

Python's `tarfile` reads PAX headers and long names whole into memory, follows negative sizes backwards, and takes a
damaged header, or the end mark of the first of several concatenated tars, for the end of the file. This walker lists
what it cannot use and goes on behind it. It needs the bytes only from front to back, so compressed tars are walked
like files. The formats are those of POSIX.1-2001 (ustar, pax), GNU tar and V7.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from ..encodings import decode_name
from .streams import Source

BLOCK = 512
_CHUNK = 1 << 20  # a multiple of BLOCK
_ZEROS = bytes(BLOCK)
# POSIX's and GNU's marks of a header.
_MAGIC = re.compile(rb"ustar(?:\x0000|  \x00)")
_MAGIC_OFFSET = 257
# Names have at most some thousand bytes. Headers with extended attributes can be larger, but not by much.
MAX_EXTENSION_BYTES = 1 << 20
# The index of a shard is kept in memory, about 1 KB for each member.
MAX_MEMBERS = 1 << 22
_MAX_SPARSE_BLOCKS = 1 << 16

_REGULAR = frozenset({b"0", b"\0", b"7"})
_DIRECTORY = b"5"
_HARD_LINK, _SYMBOLIC_LINK = b"1", b"2"
_SPARSE = b"S"
_LONG_NAME, _LONG_LINK = b"L", b"K"
_PAX, _GLOBAL_PAX = frozenset({b"x", b"X"}), b"g"
_WITHOUT_DATA = {b"3": "a character device", b"4": "a block device", b"6": "a named pipe"}
_WITH_DATA = {b"M": "the rest of a file that begins in another volume", b"V": "a volume label"}


class Kind(Enum):
    """What a member is."""

    FILE = "file"
    HARD_LINK = "hard link"
    SYMBOLIC_LINK = "symbolic link"
    UNUSABLE = "unusable"


# A large tar has millions of these two, and a frozen dataclass takes three times as long to make.
class Member(NamedTuple):
    """One member of a tar; directories are left out.

    `offset` and `size` say where its bytes are, from the beginning of the uncompressed tar. `target` is where a link
    points to. `problem` says why a member is unusable, as the end of a sentence that begins with its name.
    """

    name: str
    kind: Kind
    offset: int
    size: int
    target: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Bytes that cannot be understood. `name` is the member that they were to belong to, if that is known."""

    offset: int
    detail: str
    name: str = ""


class EndsWithinError(Exception):
    """A stream of unknown size ended within a member: it has `size` bytes. `why` is empty if that is its end."""

    def __init__(self, size: int, why: str) -> None:
        super().__init__(f"the stream ends at byte {size}: {why}")
        self.size = size
        self.why = why


class _Header(NamedTuple):
    name: bytes
    kind: bytes
    size: int | None  # None if the field holds no number
    target: bytes
    continues: bool  # for sparse files: whether blocks with more of the map follow


@dataclass(slots=True)
class _Extension:
    """What headers before a member say about it."""

    name: bytes | None = None
    target: bytes | None = None
    size: int | None = None
    is_sparse: bool = False
    problem: str = ""


def walk(source: Source) -> Iterator[Member | Gap]:
    """Yields a tar's members, and the gaps between them, in their order. Concatenated tars are walked to the last one.

    Raises:
        EndsWithinError: if a source of unknown size ends within a member. Walk again with the size, then: only with it
            can a size in a header that is too large be told from one that is right.
    """
    extension, search = _Extension(), _Search(source)
    is_behind_end = False
    num_members = 0
    while True:
        start = source.position
        block = source.read(BLOCK)
        if (len(block) < BLOCK or block == _ZEROS) and extension != _Extension():
            yield _without_member(start, extension)
            extension = _Extension()  # it must not describe a member behind the end mark
        if len(block) < BLOCK:
            yield from _end(source, start, block, is_behind_end)
            return
        if block == _ZEROS:
            is_behind_end = True
            source.skip_zeros(BLOCK)
            continue
        header = _parse(block)
        if header is None:
            source.unread(block)
            found = search.find()
            where = "behind the end mark" if is_behind_end else "where a header should be"
            yield Gap(offset=start, detail=_lost(source, start, where))
            if not found:
                return
            extension = _Extension()
            continue
        is_behind_end = False
        if header.kind in (_LONG_NAME, _LONG_LINK, _GLOBAL_PAX) or header.kind in _PAX:
            gap = _extend(source, header, extension)
        else:
            member, gap = _member(source, header, extension)
            extension = _Extension()
            if member is not None:
                num_members += 1
                yield member
        if gap is not None:
            extension = _Extension()
            found = search.find()
            yield gap
            if not found:
                return
        if num_members >= MAX_MEMBERS:
            detail = f"the tar has more than {MAX_MEMBERS} members; the rest is not read, split the tar"
            yield Gap(offset=source.position, detail=detail)
            return


def _end(source: Source, start: int, rest: bytes, is_behind_end: bool) -> Iterator[Gap]:
    if source.error:
        yield Gap(offset=start, detail=f"the compressed data cannot be read on: {source.error}")
    elif rest.strip(b"\0"):
        where = "behind the end mark" if is_behind_end else "where a header should be"
        yield Gap(offset=start, detail=_lost(source, start, where))
    elif not is_behind_end:
        yield Gap(offset=start, detail=f"the tar ends without its end mark at byte {start}")


def _without_member(start: int, extension: _Extension) -> Gap:
    name = decode_name(extension.name or b"")
    return Gap(offset=start, name=name, detail=f"the member that an extended header names ({name}) is missing")


def _lost(source: Source, start: int, where: str) -> str:
    return f"{source.position - start} bytes from byte {start} on, {where}, are no part of a tar"


def _member(source: Source, header: _Header, extension: _Extension) -> tuple[Member | None, Gap | None]:
    """The member that a header describes, and the gap that follows because its size cannot be right."""
    if header.kind == _SPARSE:
        _skip_sparse_map(source, header)
    name = decode_name(header.name if extension.name is None else extension.name)
    target = decode_name(header.target if extension.target is None else extension.target)
    kind, problem, has_data = _kind(header, extension)
    size = 0 if not has_data else header.size if extension.size is None else extension.size
    start = source.position
    gap = _skip(source, name, size)
    if gap is not None:
        return None, gap
    if kind is None or (kind is Kind.FILE and name.endswith("/")):  # V7 marks directories so
        return None, None
    return Member(name=name, kind=kind, offset=start, size=size or 0, target=target, problem=problem), None


def _kind(header: _Header, extension: _Extension) -> tuple[Kind | None, str, bool]:
    """The kind of a member (None for a directory), why it is unusable, and whether data follow its header."""
    if header.kind == _DIRECTORY:
        return None, "", False
    if header.kind in _WITHOUT_DATA:
        return Kind.UNUSABLE, f"is {_WITHOUT_DATA[header.kind]}", False
    is_link = header.kind in (_HARD_LINK, _SYMBOLIC_LINK)
    if extension.problem:
        return Kind.UNUSABLE, extension.problem, not is_link
    if is_link:
        return Kind.HARD_LINK if header.kind == _HARD_LINK else Kind.SYMBOLIC_LINK, "", False
    if header.kind == _SPARSE or extension.is_sparse:
        return Kind.UNUSABLE, "is stored without its zeros (a sparse file); pack the tar without --sparse", True
    if header.kind in _REGULAR:
        return Kind.FILE, "", True
    return Kind.UNUSABLE, f"is {_WITH_DATA.get(header.kind, f'of the unknown kind {header.kind!r}')}", True


def _skip(source: Source, name: str, size: int | None) -> Gap | None:
    """Skips the data of a member. Returns a gap, and skips nothing, if they cannot be there."""
    start = source.position
    if size is None or size < 0:
        written = "no number" if size is None else f"{size} bytes"
        return Gap(offset=start, name=name, detail=f"the header of {name} gives {written} as its size")
    if source.size is not None and size > source.size - start:
        why = f" ({source.error})" if source.error else ""
        detail = f"{name} must have {size} bytes by its header, but the tar has {source.size - start} more{why}"
        return Gap(offset=start, name=name, detail=detail)
    padding = -size % BLOCK
    if source.skip(size + padding) < size:
        raise EndsWithinError(source.position, source.error)
    return None


def _skip_sparse_map(source: Source, header: _Header) -> None:
    continues = header.continues
    for _ in range(_MAX_SPARSE_BLOCKS):
        if not continues:
            return
        block = source.read(BLOCK)
        continues = len(block) == BLOCK and block[504] != 0


def _extend(source: Source, header: _Header, extension: _Extension) -> Gap | None:
    """Reads a header that describes the next member."""
    size, start = header.size, source.position
    if size is None or not 0 <= size <= MAX_EXTENSION_BYTES:
        if header.kind != _GLOBAL_PAX:
            told = "no number" if size is None else f"{size} bytes"
            extension.problem = f"has an extended header of {told}; at most {MAX_EXTENSION_BYTES} are read"
        gap = _skip(source, "an extended header", size)
        return gap and replace(gap, name="")
    data = source.read(size)
    if len(data) < size:
        return Gap(offset=start, detail=f"an extended header at byte {start} ends too early")
    source.skip(-size % BLOCK)
    if header.kind == _LONG_NAME:
        extension.name = data.partition(b"\0")[0]
    elif header.kind == _LONG_LINK:
        extension.target = data.partition(b"\0")[0]
    elif header.kind in _PAX:
        _apply_pax(data, extension)
    return None


def _apply_pax(data: bytes, extension: _Extension) -> None:
    records = _pax_records(data)
    if records is None:
        extension.problem = "has an extended header that is damaged"
        return
    extension.is_sparse = any(key.startswith(b"GNU.sparse.") for key in records)
    extension.name = records.get(b"GNU.sparse.name", records.get(b"path") or extension.name)
    extension.target = records.get(b"linkpath", extension.target)
    size = records.get(b"size")
    if size:  # without a value, what the member's own header says counts
        if size.isdigit() and len(size) < 20:
            extension.size = int(size)
        else:
            extension.size = -1  # what follows cannot be found


def _pax_records(data: bytes) -> Mapping[bytes, bytes] | None:
    r"""The records `<length> <key>=<value>\n` of a PAX header; None if one of them is damaged."""
    records: dict[bytes, bytes] = {}
    start = 0
    while start < len(data) and data[start]:
        space = data.find(b" ", start, start + 20)
        length = data[start:space] if space > start else b""
        if not length.isdigit():
            return None
        end = start + int(length)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space + 1 or not equals or data[end - 1 : end] != b"\n":
            return None
        records[key] = value
        start = end
    return records


class _Search:
    """Looks for headers where one is missing. They may be anywhere, because bytes may have been lost or added.

    A file can hold millions of places that look like a header until their checksum is computed; behind the first ones,
    only whole blocks are tried.
    """

    _MAX_TRIES = 100_000

    def __init__(self, source: Source) -> None:
        self._source = source
        self._num_tries = 0

    def find(self) -> bool:
        """Skips to the next header; False, and skips to the end, if there is none."""
        window, start = b"", self._source.position
        while chunk := self._source.read(_CHUNK):
            window = window[-BLOCK + 1 :] + chunk
            first = self._source.position - len(window) - start
            for begin in self._candidates(window, first):
                self._num_tries += 1
                if _parse(window[begin : begin + BLOCK]) is not None:
                    self._source.unread(window[begin:])
                    return True
        return False

    def _candidates(self, window: bytes, first: int) -> Iterator[int]:
        for match in _MAGIC.finditer(window):
            begin = match.start() - _MAGIC_OFFSET
            is_inside = 0 <= begin <= len(window) - BLOCK
            if is_inside and (self._num_tries < self._MAX_TRIES or (first + begin) % BLOCK == 0):
                yield begin


def _parse(block: bytes) -> _Header | None:
    """A header's fields; None if its checksum is wrong."""
    checksum = _number(block[148:156])
    if len(block) < BLOCK or checksum is None:
        return None
    blanked = block[:148] + b" " * 8 + block[156:]
    # Some old programs add the bytes as signed ones.
    if checksum != _sum(blanked) and checksum != _sum(blanked) - 256 * sum(byte > 127 for byte in blanked):
        return None
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0":  # GNU's own format has times where POSIX has the beginning of long names
        length = 131 if block[508:512] == b"tar\0" else 155  # star has times behind it
        prefix = block[345 : 345 + length].partition(b"\0")[0]
        name = prefix + b"/" + name if prefix else name
    return _Header(
        name=name,
        kind=block[156:157],
        size=_number(block[124:136]),
        target=block[157:257].partition(b"\0")[0],
        continues=block[482] != 0,
    )


def _sum(block: bytes) -> int:
    """The sum of a block's bytes. Below 65,521 it is the lower half of Adler-32, less one, in a tenth of the time."""
    return (zlib.adler32(block) & 0xFFFF) - 1 if block.isascii() else sum(block)


def _number(written: bytes) -> int | None:
    """A number in octal digits, or in base 256 if the first bit is set; None if it is neither."""
    if written[:1] in (b"\x80", b"\xff"):
        return int.from_bytes(written[1:], "big") - (256 ** (len(written) - 1) if written[0] == 0xFF else 0)
    digits = written.partition(b"\0")[0].strip(b" ")
    if digits.strip(b"01234567"):
        return None
    return int(digits, 8) if digits else 0

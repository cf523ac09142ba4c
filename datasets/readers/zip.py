"""Zip archives: files that share a key are one sample (see `members`).

The archive's directory is read once; each member is then found by its offset, also later for a hit. Nothing in the
directory is believed before it was checked. The format is that of PKWARE's APPNOTE.TXT, with zip64.

`offset` and `length` of a span say where a member's local header begins and how many bytes it has as it is stored.
"""

from __future__ import annotations

import bz2
import os
import re
import stat
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from ..errors import Reason, SampleError, ShardError, first_line
from ..places import is_local, resolve
from ..types import Place, Scan, Shard, Span
from .members import Samples, plain_name
from .reader import MAX_MEMBER_BYTES, Reader
from .streams import MAX_RATIO, MAX_UNPACKED_BYTES, Deflated

_FORMAT = "zip"
_END = struct.Struct("<4s4H2LH")
_END64_PLACE = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_DIRECTORY = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX_COMMENT = 1 << 16
# About five million members; the directory is read as a whole.
_MAX_DIRECTORY_BYTES = 512 << 20
_FULL, _FULL64 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED, _CRC_BEHIND, _UTF8 = 1, 8, 1 << 11
_UNIX, _DOS_FOLDER = 3, 0x10
_NAMES = {1: "Shrink", 6: "Implode", 9: "Deflate64", 14: "LZMA", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "AES"}
# What one read gets behind a member's fixed header: mostly its name and its extra fields too.
_USUAL_NAMES = 512


class _Stored:
    """Bytes that are stored as they are, in the words of Python's decompressors."""

    eof = True

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return data[:max_length]


_METHODS: dict[int, Callable[[], Any]] = {
    0: _Stored,
    8: lambda: Deflated(wbits=-zlib.MAX_WBITS),
    12: bz2.BZ2Decompressor,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """An entry of the directory. `problem` says why it cannot be read, as the end of a sentence.

    Without a name, it is the rest of a damaged directory.
    """

    name: str
    offset: int
    stored: int
    size: int
    problem: str


def scan(shard: Shard) -> Scan:
    """Groups an archive's members by key, in the order of its directory.

    Raises:
        OSError: if the file cannot be read.
        ShardError: if the file is no zip archive, or is one part of an archive in several.
    """
    samples = Samples(shard.uri)
    filesystem, path = resolve(shard.uri)
    with filesystem.open(path, "rb") as file:
        start, size, shift = _find_directory(shard.uri, file)
        file.seek(start)
        directory = file.read(size)
    members = list(_members(directory, start, shift))
    overlapping = _overlapping(members)
    num_bytes, allowed = 0, max(MAX_UNPACKED_BYTES, MAX_RATIO * (start + size))
    for position, member in enumerate(members):
        num_bytes += member.size
        if num_bytes > allowed:
            detail = f"the members before {member.name} expand to {allowed} bytes; it and those behind it are not read"
            samples.fail("", Reason.SHARD_TRUNCATED, detail)
            break
        problem = member.problem or ("shares its bytes with another member" if position in overlapping else "")
        if problem and not member.name:
            samples.fail("", Reason.SHARD_TRUNCATED, problem)
        elif problem:
            samples.lose(member.name, Reason.UNREADABLE, f"{member.name} {problem}")
        elif not member.name.endswith("/"):
            samples.add(member.name, _span(shard.uri, member.name, member.offset, member.stored), member.size)
    entries = samples.entries()
    num_entries = len(entries) + len(samples.failures)
    return Scan(entries=entries, failures=samples.failures, num_entries=num_entries)


def read(span: Span) -> bytes:
    """The bytes of one member, decompressed; their checksum is checked.

    Raises:
        OSError: if the file cannot be read.
        SampleError: if only this member is damaged.
    """
    offset, stored = span.offset, span.length
    if offset is None or stored is None or offset < 0 or not 0 <= stored <= MAX_MEMBER_BYTES:
        raise _damaged(span, "no place of it that can be read is known")
    behind = stored + _USUAL_NAMES
    head = _range(span.uri, offset, _LOCAL.size + behind)
    if len(head) < _LOCAL.size or head[:4] != b"PK\3\4":
        raise _damaged(span, f"there is no member at byte {offset}")
    _, _, flags, method, _, _, crc, _, _, name_length, extra_length = _LOCAL.unpack_from(head)
    begin = _LOCAL.size + name_length + extra_length
    if len(head) < begin + stored + 16:
        head = _range(span.uri, offset, begin + stored + 16)
    data, descriptor = head[begin : begin + stored], head[begin + stored :]
    if len(data) < stored:
        raise _damaged(span, "the archive ends too early")
    checksums = {crc}  # some programs say that it stands behind the data, and do not write it there
    if flags & _CRC_BEHIND:
        descriptor = descriptor[4:] if descriptor.startswith(b"PK\7\x08") else descriptor
        checksums.add(int.from_bytes(descriptor[:4], "little"))
    if flags & _ENCRYPTED or method not in _METHODS:
        raise _damaged(span, "it is encrypted, or compressed in an unknown way")
    image = _unpacked(span, data, method)
    if zlib.crc32(image) not in checksums:
        raise _damaged(span, "its checksum is wrong")
    return image


def locate(place: Place) -> Span:
    """The image is the member whose local header is at the row's offset."""
    return Span(uri=place.shard, offset=place.offset, length=place.length, member=place.image_path, format=_FORMAT)


def _span(uri: str, name: str, offset: int, stored: int) -> Span:
    return Span(uri=uri, offset=offset, length=stored, member=name, format=_FORMAT)


def _range(uri: str, offset: int, length: int) -> bytes:
    filesystem, path = resolve(uri)
    if is_local(filesystem):
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(length)
    return filesystem.cat_file(path, start=offset, end=offset + length)


def _unpacked(span: Span, data: bytes, method: int) -> bytes:
    engine = _METHODS[method]()
    try:
        image = engine.decompress(data, MAX_MEMBER_BYTES + 1)
    except (zlib.error, OSError, ValueError, EOFError) as error:
        raise _damaged(span, first_line(error)) from error
    if len(image) > MAX_MEMBER_BYTES:
        detail = f"{span.member} has more than {MAX_MEMBER_BYTES} bytes when it is decompressed"
        raise SampleError(Reason.TOO_LARGE, detail)
    if not engine.eof:
        raise _damaged(span, "its compressed data end too early")
    return image


def _damaged(span: Span, detail: str) -> SampleError:
    return SampleError(Reason.UNREADABLE, f"{span.member} of {span.uri} cannot be read: {detail}")


def _find_directory(uri: str, file: IO[bytes]) -> tuple[int, int, int]:
    """Where the directory begins, how many bytes it has, and by how much all offsets in it must be shifted."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _MAX_COMMENT - _END.size))
    tail = file.read()
    at = _end(tail)
    if at is None:
        raise ShardError(f"{uri} is not a zip archive, or its end with the directory is missing")
    _, disk, first_disk, _, _, size, offset, _ = _END.unpack_from(tail, at)
    place = end - len(tail) + at
    if _FULL64 in (size, offset) or _FULL in (disk, first_disk):
        size, offset, place = _end64(uri, file, place)
    elif disk or first_disk:
        raise ShardError(f"{uri} is one part of a zip archive in several; join them with `zip -s 0`")
    if size > min(place, _MAX_DIRECTORY_BYTES):
        detail = f"its directory would have {size} bytes; at most {_MAX_DIRECTORY_BYTES} are read"
        raise ShardError(f"{uri} is damaged: {detail}")
    # Something may stand before the archive, for example a program that unpacks it.
    return place - size, size, place - size - offset


def _end(tail: bytes) -> int | None:
    """Where the record at the archive's end begins.

    Its comment ends with the file, so a comment that holds such a record is none; or something was appended.
    """
    found = [match.start() for match in re.finditer(b"PK\5\6", tail) if match.start() + _END.size <= len(tail)]
    ending = (at for at in found if at + _END.size + _END.unpack_from(tail, at)[-1] == len(tail))
    return next(ending, found[-1] if found else None)


def _end64(uri: str, file: IO[bytes], place: int) -> tuple[int, int, int]:
    """The size and the offset of the directory, and the place behind it, in an archive beyond the limits of 32 bits."""
    file.seek(max(0, place - _END64_PLACE.size))
    data = file.read(_END64_PLACE.size)
    if len(data) == _END64_PLACE.size and data.startswith(b"PK\6\7"):
        # The record stands before its locator; where something stands before the archive, its offset is wrong.
        for start in (_END64_PLACE.unpack(data)[2], place - _END64_PLACE.size - _END64.size):
            if 0 <= start <= place:
                file.seek(start)
                record = file.read(_END64.size)
                if len(record) == _END64.size and record.startswith(b"PK\6\6"):
                    *_, size, offset = _END64.unpack(record)
                    return size, offset, start
    raise ShardError(f"{uri} is damaged: the end of a zip64 archive is missing")


def _members(directory: bytes, start: int, shift: int) -> Iterator[_Member]:
    """The entries of a directory."""
    at = 0
    while at < len(directory):
        if directory[at : at + 4] != b"PK\1\2" or at + _DIRECTORY.size > len(directory):
            following = directory.find(b"PK\1\2", at + 1)
            following = len(directory) if following < 0 else following
            problem = f"{following - at} bytes of the directory, from byte {start + at} of the archive on, are damaged"
            yield _Member(name="", offset=0, stored=0, size=0, problem=problem)
            at = following
            continue
        fields = _DIRECTORY.unpack_from(directory, at)
        _, _, system, _, _, flags, method, _, _, _, stored, size, *rest = fields
        name_length, extra_length, comment_length, disk, _, attributes, offset = rest
        at += _DIRECTORY.size
        name = directory[at : at + name_length]
        extra = directory[at + name_length : at + name_length + extra_length]
        at += name_length + extra_length + comment_length
        size, stored, offset = _zip64(extra, size, stored, offset)
        offset += shift
        mode = attributes >> 16 if system == _UNIX else 0
        is_folder = not size and (stat.S_ISDIR(mode) or attributes & _DOS_FOLDER)
        yield _Member(
            name=_plain(_decoded(name, is_utf8=bool(flags & _UTF8)) + "/" * bool(is_folder)),
            offset=offset,
            stored=stored,
            size=size,
            problem=_problem(flags, method, disk, mode, inside=0 <= offset <= offset + stored <= start),
        )


def _overlapping(members: Sequence[_Member]) -> set[int]:
    """The positions of members whose bytes belong to another member too: a way to make bombs of many members."""
    found: set[int] = set()
    end = 0
    for position in sorted(range(len(members)), key=lambda position: (members[position].offset, position)):
        member = members[position]
        if member.problem or member.name.endswith("/"):
            continue
        if member.offset < end:
            found.add(position)
        else:
            end = member.offset + _LOCAL.size + member.stored
    return found


def _zip64(extra: bytes, size: int, stored: int, offset: int) -> tuple[int, int, int]:
    """The true sizes and offset of an entry; the 64-bit ones are in an extra field, if the 32-bit ones are full."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            values = iter(struct.unpack_from(f"<{min(length, len(extra) - at - 4) // 8}Q", extra, at + 4))
            size, stored, offset = (
                next(values, value) if value == _FULL64 else value for value in (size, stored, offset)
            )
            break
        at += 4 + length
    return size, stored, offset


def _problem(flags: int, method: int, disk: int, mode: int, *, inside: bool) -> str:
    if flags & _ENCRYPTED:
        return "is encrypted"
    if stat.S_ISLNK(mode):
        return "is a symbolic link; pack the archive without --symlinks"
    if method not in _METHODS:
        return f"is compressed by the method {_NAMES.get(method, method)}; only Store, Deflate and bzip2 are read"
    if disk and disk != _FULL:
        return "is in another part of the archive"
    return "" if inside else "stands outside the archive by its directory"


def _decoded(name: bytes, *, is_utf8: bool) -> str:
    """A name as text. Chinese Windows writes GBK without saying so; what is neither, is in DOS's code page 437."""
    for encoding in ("utf-8", "gb18030"):
        try:
            return name.decode(encoding)
        except UnicodeDecodeError:
            continue
    return name.decode("utf-8", "replace") if is_utf8 else name.decode("cp437")


def _plain(name: str) -> str:
    """The plain name; that of a folder keeps its slash at the end."""
    name = name.replace("\\", "/").replace("\0", "")
    return plain_name(name) + "/" * name.endswith("/")


READER = Reader(format=_FORMAT, endings=(".zip",), scan=scan, read=read, locate=locate)

"""Webdataset tars: files that share a key are one sample (`0007.jpg`, `0007.txt`, `0007.json`).

Local tars are scanned by their headers and read by offset, so that many processes can read one tar. Compressed and
remote tars are read once from front to back. A remote tar's offsets are stored too; a compressed tar has none, so no
single image can be read from it later.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import fsspec

from ..decoding import IMAGE_EXTENSIONS
from ..errors import Reason, ShardError
from ..text import decode_name
from ..types import Entry, Failure, Place, Scan, Shard, Span
from .captions import read_img2dataset_rows
from .reader import Reader, read_range

# A member's role by its ending. A member with another ending has that ending, with its dot, as its role: no name of a
# role begins with a dot.
_ROLES = {"txt": "caption", "json": "fields"}
_ENDINGS = {role: f".{ending}" for ending, role in _ROLES.items()}
# Reading a damaged compressed stream raises further errors than tarfile's own.
_STREAM_ERRORS = (tarfile.TarError, EOFError, zlib.error)


def scan(shard: Shard) -> Scan:
    """Groups a tar's members by key, in order of first appearance.

    A key is a member's path without its last ending (webdataset's own reader cuts at the first dot, so `photo.1.jpg`
    and `photo.2.jpg` become one sample there). The members of a sample may come in any order; in a tar that is read
    from front to back they must be adjacent. A truncated tar gives its readable prefix, and a failure that says where
    it ends. A sample without `.json` gets its fields from the parquet file that img2dataset writes beside the tar.

    Raises:
        ShardError: if the file is no tar.
    """
    filesystem, path = fsspec.core.url_to_fs(shard.uri)
    groups = _Groups(shard)
    if shard.format == TAR.format and "file" in filesystem.protocol:
        members, broken = _members(shard.uri, filesystem, path)
        for member in members:
            groups.add(member, Span(uri=shard.uri, offset=member.offset_data, length=member.size))
        if broken:
            groups.fail("", Reason.SHARD_TRUNCATED, broken)
        entries = tuple(groups.pop_all())
        num_entries = len(entries) + len(groups.failures)
        return Scan(entries=entries, failures=groups.failures, num_entries=num_entries)
    return Scan(entries=_stream(shard, filesystem, path, groups), failures=groups.failures, num_entries=None)


def readable_name(name: str) -> str:
    """A member's name as valid Unicode, whatever encoding the tar was written with."""
    return decode_name(name.encode("utf-8", "surrogateescape"))


def _locate(place: Place) -> Span:
    return Span(uri=place.shard, offset=place.offset, length=place.length)


def _locate_compressed(place: Place) -> Span:
    raise FileNotFoundError(
        f"{place.image_path} is in the compressed tar {place.shard}, from which no single image can be read"
    )


class _Groups:
    """Collects the members of a tar into samples, and the failures on the way."""

    def __init__(self, shard: Shard) -> None:
        self.failures: list[Failure] = []
        self._shard = shard
        self._open: dict[str, dict[str, Span]] = {}
        self._paths: dict[str, str] = {}
        self._closed: set[str] = set()
        self._num_entries = 0
        self._rows: Mapping[str, Mapping[str, Any]] | None = None

    def fail(self, key: str, reason: Reason, detail: str) -> None:
        self.failures.append(Failure(key=key, shard=self._shard.uri, reason=reason, detail=detail))

    def add(self, member: tarfile.TarInfo, span: Span) -> str | None:
        """Adds a member, and returns the key of its sample; None if it belongs to no sample.

        Members with unknown endings count too, so that a sample without an image is recorded as a failure.
        """
        name = readable_name(member.name)
        key, _, extension = name.rpartition(".")
        extension = extension.lower()
        role = "image" if extension in IMAGE_EXTENSIONS else _ROLES.get(extension, f".{extension}")
        if not key:
            return None
        if key in self._closed or role in self._open.get(key, ()):
            self.fail(key, Reason.DUPLICATE_KEY, f"{name} is a second {role} under this key")
            return None
        self._open.setdefault(key, {})[role] = span
        if role == "image":
            self._paths[key] = name
        return key

    def pop_all(self) -> Iterator[Entry]:
        """Closes all groups, and yields those that have an image."""
        groups, self._open = self._open, {}
        for key, group in groups.items():
            self._closed.add(key)
            if "image" not in group:
                endings = ", ".join(_ENDINGS.get(role, role) for role in group)
                self.fail(key, Reason.NO_IMAGE, f"none of this sample's members ({endings}) is an image")
                continue
            yield Entry(
                key=key,
                row=self._num_entries,
                image_path=self._paths.pop(key),
                image=group["image"],
                caption=group.get("caption"),
                fields=group.get("fields"),
                metadata={} if "fields" in group else self._img2dataset_row(key),
            )
            self._num_entries += 1

    def pop_others(self, key: str) -> Iterator[Entry]:
        """Closes all groups except one, and yields those that have an image."""
        kept = self._open.pop(key, None)
        yield from self.pop_all()
        if kept is not None:
            self._open[key] = kept

    def _img2dataset_row(self, key: str) -> Mapping[str, Any]:
        if self._rows is None:
            self._rows = read_img2dataset_rows(self._shard.uri)
        return self._rows.get(key, {})


def _stream(shard: Shard, filesystem: Any, path: str, groups: _Groups) -> Iterator[Entry]:
    compressed = shard.format == COMPRESSED_TAR.format
    num_members = 0
    try:
        with (
            filesystem.open(path, "rb") as file,
            tarfile.open(fileobj=file, mode="r|gz" if compressed else "r|") as tar,
        ):
            for member in tar:
                num_members += 1
                content = tar.extractfile(member) if member.isreg() else None
                if content is None:
                    continue
                data = content.read()
                offset, length = (None, None) if compressed else (member.offset_data, member.size)
                key = groups.add(member, Span(uri=shard.uri, offset=offset, length=length, data=data))
                if key is not None:
                    yield from groups.pop_others(key)
    except _STREAM_ERRORS as error:
        if not num_members:
            raise ShardError(f"{shard.uri} is not a tar that can be read: {error}") from error
        groups.fail("", Reason.SHARD_TRUNCATED, f"the tar breaks off: {error}; the samples before that were kept")
    except OSError as error:
        raise ShardError(f"{shard.uri} cannot be read: {error}", may_pass=True) from error
    yield from groups.pop_all()


def _members(uri: str, filesystem: Any, path: str) -> tuple[list[tarfile.TarInfo], str | None]:
    """The regular files of a tar whose bytes are complete, and what is wrong with the tar's end, or None."""
    members: list[tarfile.TarInfo] = []
    try:
        with filesystem.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            size = file.seek(0, 2)
            file.seek(tar.offset)
            try:
                members.extend(member for member in tar if member.isreg())
            except tarfile.TarError as error:
                return _whole(members, size), f"the tar breaks off: {error}; the samples before that were kept"
            # tarfile treats a damaged header, or the end of the file, as the end of the archive, without an error.
            file.seek(tar.offset)
            block = file.read(tarfile.BLOCKSIZE)
            if block.strip(b"\0") or len(block) < tarfile.BLOCKSIZE:
                wrong = "there is a damaged header" if block.strip(b"\0") else "the tar ends without its end mark"
                return _whole(members, size), f"{wrong} at byte {tar.offset}; the samples before that were kept"
    except tarfile.TarError as error:
        raise ShardError(f"{uri} is not an uncompressed tar: {error}") from error
    return _whole(members, size), None


def _whole(members: list[tarfile.TarInfo], size: int) -> list[tarfile.TarInfo]:
    return [member for member in members if member.offset_data + member.size <= size]


TAR = Reader(format="webdataset", endings=(".tar",), scan=scan, read=read_range, locate=_locate)
COMPRESSED_TAR = Reader(
    format="webdataset.gz", endings=(".tar.gz", ".tgz"), scan=scan, read=read_range, locate=_locate_compressed
)

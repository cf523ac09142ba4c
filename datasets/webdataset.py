"""Webdataset tars: files that share a key are one sample (`0007.jpg`, `0007.txt`, `0007.json`)."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass

import fsspec

from .decode import EXTENSIONS
from .types import Entry, Failure, Reason, Scan, Shard, ShardError, Span


@dataclass(slots=True)
class _Group:
    image: tarfile.TarInfo | None = None
    caption: tarfile.TarInfo | None = None
    fields: tarfile.TarInfo | None = None


def scan(shard: Shard) -> Scan:
    """Reads the headers of an uncompressed tar once and groups its members by key, in order of first appearance.

    A key is a member's path less its last ending (webdataset's own reader cuts at the first dot, which takes
    `photo.1.jpg` and `photo.2.jpg` for one sample). Members of a sample may come in any order. A tar that breaks off
    gives its readable prefix and a failure that says where.

    Raises:
        ShardError: if the file is no uncompressed tar.
    """
    groups: dict[str, _Group] = {}
    failures: list[Failure] = []

    def fail(key: str, reason: Reason, detail: str) -> None:
        failures.append(Failure(key=key, shard=shard.uri, reason=reason, detail=detail))

    members, broken = _members(shard)
    for member in members:
        key, _, extension = readable_name(member.name).rpartition(".")
        role = _role(extension.lower())
        if not key or role is None:
            continue
        group = groups.setdefault(key, _Group())
        if getattr(group, role) is None:
            setattr(group, role, member)
        else:
            fail(key, Reason.DUPLICATE_KEY, f"{readable_name(member.name)} is a second {role} under this key")
    if broken:
        fail("", Reason.SHARD_TRUNCATED, broken)

    entries = []
    for key, group in groups.items():
        if group.image is None:
            fail(key, Reason.NO_IMAGE, "no member of this sample is a picture")
            continue
        entries.append(
            Entry(
                key=key,
                row=len(entries),
                image_path=readable_name(group.image.name),
                image=_span(shard, group.image),
                caption=_span(shard, group.caption) if group.caption else None,
                fields=_span(shard, group.fields) if group.fields else None,
            )
        )
    return Scan(entries=tuple(entries), failures=tuple(failures))


def readable_name(name: str) -> str:
    """A member's name as valid Unicode: UTF-8, else GB 18030 (Chinese Windows writes it), else with marks for gaps."""
    raw = name.encode("utf-8", "surrogateescape")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "replace")


def _role(extension: str) -> str | None:
    if extension in EXTENSIONS:
        return "image"
    return {"txt": "caption", "json": "fields"}.get(extension)


def _span(shard: Shard, member: tarfile.TarInfo) -> Span:
    return Span(uri=shard.uri, offset=member.offset_data, length=member.size)


def _members(shard: Shard) -> tuple[list[tarfile.TarInfo], str | None]:
    """The regular files of a tar whose bytes are all there, and what is wrong with its end, if anything."""
    members: list[tarfile.TarInfo] = []
    try:
        filesystem, path = fsspec.core.url_to_fs(shard.uri)
        with filesystem.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            size = file.seek(0, 2)
            file.seek(tar.offset)
            try:
                members.extend(member for member in tar if member.isreg())
            except tarfile.TarError as error:
                return _whole(members, size), f"the tar breaks off: {error}; what stands before that was kept"
            # tarfile takes a damaged header, and the end of the file, for the end of the archive and says nothing.
            file.seek(tar.offset)
            block = file.read(tarfile.BLOCKSIZE)
            if block.strip(b"\0") or len(block) < tarfile.BLOCKSIZE:
                wrong = "there is a damaged header" if block.strip(b"\0") else "the tar ends without its end mark"
                return _whole(members, size), f"{wrong} at byte {tar.offset}; what stands before that was kept"
    except tarfile.TarError as error:
        raise ShardError(f"{shard.uri} is not an uncompressed tar: {error}") from error
    return _whole(members, size), None


def _whole(members: list[tarfile.TarInfo], size: int) -> list[tarfile.TarInfo]:
    return [member for member in members if member.offset_data + member.size <= size]

"""`Reader`: all that diantu must know about one shard format, in one value.

A new format is one module with one `Reader`. Inside this package it also needs a line in `formats`; another package
declares it as an entry point of the group `diantu.readers` instead, named like the format:

    [project.entry-points."diantu.readers"]
    npz = "my_package.npz_reader:READER"
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO

from ..errors import Reason, SampleError, ShardError
from ..places import is_local, resolve
from ..types import Place, Scan, Shard, Span

# No image file is larger than this, and no caption or JSON file than that: without bounds, a few compressed bytes or
# one number in a header fill the memory. An RGB image of as many pixels as Pillow allows has 256 MiB.
MAX_MEMBER_BYTES = 256 << 20
MAX_TEXT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """How shards of one format are recognized, scanned and read.

    Several threads and processes call the functions at once, so these must be stateless or lock their state.

    Attributes:
        format: the name of the format. It is stored with every part of a gallery, so it must never change.
        endings: the endings of files that are such shards, in lower case with their dot, say `(".npz",)`. The case of a
            file's name makes no difference.
        scan: lists the samples of a shard, in the same order every time and each under a key of its own. It should read
            no image if the container allows that. It raises `ShardError` if the shard's content is not of this
            format. An `OSError`, at once or during the iteration over the entries, means that another try may succeed.
        read: returns the bytes of a span of this format. It runs in other processes than the scan, and later for hits
            of the gallery. `read_range` is right for spans without a member. It raises `OSError` if the container
            cannot be read (the job tries the whole shard again), and `SampleError` if only these bytes are damaged
            (the sample becomes a failure).
        locate: returns the span of an image by the columns that are stored of it. It should not read anything. It
            raises `FileNotFoundError` if a single image cannot be read from such a shard.
        counts_beside_others: False if files of this format are no shards in a folder that holds other shards or images.
    """

    format: str
    endings: tuple[str, ...]
    scan: Callable[[Shard], Scan]
    read: Callable[[Span], bytes]
    locate: Callable[[Place], Span]
    counts_beside_others: bool = True


def check_kind(uri: str) -> None:
    """Refuses named pipes, devices and sockets, which would be waited for or read without end.

    Raises:
        ShardError: if it is one of them.
    """
    filesystem, path = resolve(uri)
    if is_local(filesystem) and os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise ShardError(f"{uri} is not a regular file")


def read_range(span: Span) -> bytes:
    """Reads a file, or the range of it that a span names, from any place that fsspec can open.

    Raises:
        OSError: if the file is missing, no regular file, or shorter than the span says.
        SampleError: if it has more than `MAX_MEMBER_BYTES`.
    """
    if span.length is not None and not 0 <= span.length <= MAX_MEMBER_BYTES:
        raise _too_large(span.uri, span.length)
    if span.offset is not None and span.offset < 0:
        raise OSError(f"{span.uri} has no byte {span.offset}")
    filesystem, path = resolve(span.uri)
    if is_local(filesystem):
        return _read_local(path, span)
    if span.offset is None or span.length is None:
        return filesystem.cat_file(path)
    data = filesystem.cat_file(path, start=span.offset, end=span.offset + span.length) if span.length else b""
    return _whole(data, span)


def _read_local(path: str, span: Span) -> bytes:
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        if os.path.islink(path):
            raise FileNotFoundError(f"{path} is a link to {os.readlink(path)}, which does not exist") from error
        raise
    if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
        raise OSError(f"{path} is not a regular file")
    with open(path, "rb", buffering=0) as file:
        if span.offset is None or span.length is None:
            if status.st_size > MAX_MEMBER_BYTES:
                raise _too_large(path, status.st_size)
            return _read(file, status.st_size)  # some files of the system have more, and wait for it
        file.seek(min(span.offset, status.st_size))
        return _whole(_read(file, span.length), span)


def _read(file: FileIO, size: int) -> bytes:
    """The next bytes, fewer only at the end. Without a buffer a read may return some of them."""
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def _whole(data: bytes, span: Span) -> bytes:
    assert span.offset is not None
    if len(data) != span.length:
        missing = (span.length or 0) - len(data)
        raise OSError(f"{span.uri} ends at byte {span.offset + len(data)}, {missing} bytes too soon")
    return data


def _too_large(place: str, size: int) -> SampleError:
    return SampleError(Reason.TOO_LARGE, f"{place} has {size} bytes; at most {MAX_MEMBER_BYTES} are read as one image")

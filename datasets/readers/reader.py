"""`Reader`: all that diantu must know about one shard format, in one value.

A new format is one module with one `Reader`. Inside this package it also needs a line in `formats`; another package
declares it as an entry point of the group `diantu.readers` instead, named like the format:

    [project.entry-points."diantu.readers"]
    zip = "my_package.zip_reader:READER"
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import fsspec

from ..types import Place, Scan, Shard, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """How shards of one format are recognized, scanned and read.

    The functions are called in several processes and threads at once, so they must be stateless or lock their state.

    Attributes:
        format: the name, as it is stored with every part of a gallery. It must never change.
        endings: endings of the files that are such shards, in lower case with their dot, say `(".zip",)`. The
            case of a file's name makes no difference.
        scan: lists the samples of a shard in a fixed order, and so that no image is read if the container allows that.
            Raises `ShardError` if the shard is not what its format says; an `OSError`, at once or while the entries
            are iterated over, means that another try may succeed.
        read: gives the bytes of a span of this format, today in another process than the scan, or years later for a
            hit. `read_range` does for spans without a member. Raises `OSError` if the container cannot be read (the
            job tries the shard again), `SampleError` if only these bytes are damaged (the sample becomes a failure).
        locate: gives the span of an image from its row of metadata; must not read anything. Raises
            `FileNotFoundError` if a single image cannot be read from such a shard.
        counts_beside_others: False if a folder's files of this format are shards only where it holds nothing else.
    """

    format: str
    endings: tuple[str, ...]
    scan: Callable[[Shard], Scan]
    read: Callable[[Span], bytes]
    locate: Callable[[Place], Span]
    counts_beside_others: bool = True


def read_range(span: Span) -> bytes:
    """Reads a file, or the range of it that a span names, from any place that fsspec can open.

    Raises:
        OSError: if the file is missing, or shorter than the span says.
    """
    filesystem, path = fsspec.core.url_to_fs(span.uri)
    if span.offset is None or span.length is None:
        return filesystem.cat_file(path)
    data = filesystem.cat_file(path, start=span.offset, end=span.offset + span.length) if span.length else b""
    if len(data) != span.length:
        raise OSError(f"{span.uri} ends at byte {span.offset + len(data)}, {span.length - len(data)} bytes too soon")
    return data

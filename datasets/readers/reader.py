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

    Several threads and processes call the functions at once, so these must be stateless or lock their state.

    Attributes:
        format: the name of the format. It is stored with every part of a gallery, so it must never change.
        endings: the endings of files that are such shards, in lower case with their dot, say `(".zip",)`. The case of a
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

"""The table of readers: which one scans a shard, reads a span, and finds the image of a row again.

A shard format is built in or comes from another package; see `reader`. Extensions are looked up only if no built-in
reader fits, because that takes longer than reading an image.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from ..errors import InputError, ShardError
from ..places import path_of
from ..types import Entry, Place, Scan, Shard, Span
from . import extensions, folder, parquet, webdataset, zip
from .encoding import with_encoding, with_encoding_ahead
from .reader import Reader, check_kind, read_range

# A new built-in format is one more value here.
_BUILT_IN = (webdataset.TAR, *webdataset.COMPRESSED, zip.READER, parquet.READER, folder.READER)


def scan(shard: Shard) -> Scan:
    """Finds a shard's samples by their headers or names, in the shard's order, without reading an image.

    Raises:
        InputError: if no reader knows the shard's format.
        ShardError: if the shard cannot be opened, or its content is not what its format says.
    """
    if shard.format == extensions.IMPORTED:
        raise ShardError(f"the rows of {shard.uri} were imported as vectors, so their images cannot be read")
    reader = _reader(shard.format)
    if reader is None:
        allowed = ", ".join(reader.format for reader in _readers())
        raise InputError(
            f"no reader is installed for the shard format {shard.format!r} of {shard.uri}; allowed: {allowed}"
        )
    check_kind(shard.uri)
    try:
        found = reader.scan(shard)
    except OSError as error:
        raise _unreadable(shard, error) from error
    if isinstance(found.entries, Iterator):
        return replace(found, entries=with_encoding_ahead(shard, _checked(shard, found.entries), read_span))
    return replace(found, entries=with_encoding(shard, tuple(found.entries), read_span))


def read_span(span: Span) -> bytes:
    """Reads the bytes of a span. Stateless, so threads and processes may call it at will.

    Raises:
        OSError: if the file is missing or damaged, or shorter than the span says.
        SampleError: if only these bytes of the file are damaged.
        InputError: if no reader knows the span's format.
    """
    if span.data is not None:
        return span.data
    if span.format is None:
        return read_range(span)
    reader = _reader(span.format)
    if reader is None:
        raise InputError(f"no reader is installed for the shard format {span.format!r} of {span.uri}")
    try:
        check_kind(span.uri)
    except ShardError as error:  # a stranger's gallery can name anything
        raise OSError(str(error)) from error
    return reader.read(span)


def locate(place: Place) -> Span:
    """The span of an image by its row of metadata.

    Rows hold the URI of their shard but not its format, so the URI's ending decides.

    Raises:
        FileNotFoundError: if a single image cannot be read from such a shard, or no reader knows it.
    """
    return _reader_of_place(place).locate(place)


def reader_of_file(path: str) -> Reader | None:
    """The reader of a file, by the longest ending that fits; None if the file is no shard, as far as is known.

    Raises:
        InputError: if two packages claim the ending.
    """
    # Among a million shards are few endings.
    found = _built_in("." + path_of(path).rpartition("/")[2].partition(".")[2].lower())
    if found is None and "." in path.rpartition("/")[2]:
        found = _with_ending(path, _installed())
    return found


def readers_that_fail() -> list[InputError]:
    """Why readers of other packages cannot be used, which may be those of files that no reader knows."""
    return list(extensions.installed(_BUILT_IN)[1].values())


def endings() -> list[str]:
    """The endings of all files that are shards, those of installed extensions included."""
    return [ending for reader in _readers() for ending in reader.endings]


def _installed() -> tuple[Reader, ...]:
    return extensions.installed(_BUILT_IN)[0]


def _readers() -> tuple[Reader, ...]:
    return (*_BUILT_IN, *_installed())


def _reader(name: str) -> Reader | None:
    """The reader of a format; extensions are looked up only if no built-in reader has it."""
    found = next((reader for reader in _BUILT_IN if reader.format == name), None)
    return found or extensions.named(name, _BUILT_IN)


@lru_cache
def _built_in(ending: str) -> Reader | None:
    return _with_ending(ending, _BUILT_IN)


def _with_ending(path: str, readers: Sequence[Reader]) -> Reader | None:
    path = path_of(path).lower()
    fitting = [(len(ending), reader) for reader in readers for ending in reader.endings if path.endswith(ending)]
    longest = max((length for length, _ in fitting), default=0)
    found = [reader for length, reader in fitting if length == longest]
    if len(found) > 1:
        names = " and ".join(reader.format for reader in found)
        raise InputError(f"the readers {names} both claim the ending of {path}; uninstall the package of one of them")
    return found[0] if found else None


def _reader_of_place(place: Place) -> Reader:
    # A folder's name may end like a shard's. If it is remote, only the missing offset tells it from an archive.
    if os.path.isdir(place.shard):
        return folder.READER
    reader = reader_of_file(place.shard)
    if reader in (webdataset.TAR, zip.READER) and place.offset is None and not os.path.isfile(place.shard):
        return folder.READER
    if reader is not None:
        return reader
    if place.offset is not None:
        return webdataset.TAR  # a program may embed tars of any name
    if os.path.isfile(place.shard):
        raise FileNotFoundError(
            f"no installed reader can read {place.shard}; install the package with the reader it was embedded with"
        )
    return folder.READER


def _unreadable(shard: Shard, error: OSError) -> ShardError:
    return ShardError(f"{shard.uri} cannot be read: {error}", may_pass=True)


def _checked(shard: Shard, entries: Iterable[Entry]) -> Iterator[Entry]:
    try:
        yield from entries
    except OSError as error:
        raise _unreadable(shard, error) from error

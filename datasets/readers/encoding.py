"""The encoding of a shard's text files, decided once for all of them: single ones may be ambiguous."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from ..encodings import common_encoding, is_ambiguous
from ..errors import SampleError
from ..places import is_local, resolve
from ..types import Entry, Shard, Span

log = logging.getLogger(__name__)

# Samples whose texts are looked at: enough to know the rule of a shard, at little cost, also over a network.
_LOCAL, _REMOTE = 64, 8
_MOST_BYTES = 1 << 16
_MOST_AHEAD = 2 << 20  # bytes of images that are held meanwhile


def with_encoding(shard: Shard, entries: Sequence[Entry], read: Callable[[Span], bytes]) -> tuple[Entry, ...]:
    """Gives the entries of a shard the older encoding that most of its texts are in, if that is so.

    Args:
        shard: the shard, for the message.
        entries: all entries of the shard.
        read: reads a span.
    """
    spans = [span for entry in entries for span in (entry.caption, entry.fields) if span is not None]
    if not spans:
        return tuple(entries)
    count = _LOCAL if is_local(resolve(shard.uri)[0]) else _REMOTE
    raws = list(_heads(spans[:: -(-len(spans) // count)], read))
    encoding = common_encoding(raws)
    if encoding is None:
        return tuple(entries)
    if any(is_ambiguous(raw, encoding) for raw in raws):
        log.warning("%s: texts that could be UTF-8 or %s are read as %s, as most others", shard.uri, encoding, encoding)
    return tuple(replace(entry, encoding=encoding) for entry in entries)


def _heads(spans: Sequence[Span], read: Callable[[Span], bytes]) -> Iterator[bytes]:
    for span in spans:
        try:
            if span.data is None and not span.is_inside:
                filesystem, path = resolve(span.uri)
                size = min(filesystem.size(path) or 0, _MOST_BYTES)  # some files without one are waited for
                yield filesystem.cat_file(path, start=0, end=size) if size else b""
            elif (span.length or 0) <= _MOST_BYTES:
                yield read(span)
        except (OSError, SampleError):
            continue  # reported when the sample is read


def with_encoding_ahead(shard: Shard, entries: Iterator[Entry], read: Callable[[Span], bytes]) -> Iterator[Entry]:
    """The same for entries that come one after another with their bytes: the first of them decide."""
    first = with_encoding(shard, tuple(_first(entries)), read)
    yield from first
    encoding = first[0].encoding if first else None
    for entry in entries:
        yield entry if encoding is None else replace(entry, encoding=encoding)


def _first(entries: Iterator[Entry]) -> Iterator[Entry]:
    num_bytes = 0
    for entry in islice(entries, _LOCAL):
        yield entry
        num_bytes += len(entry.image.data or b"")
        if num_bytes > _MOST_AHEAD:
            return

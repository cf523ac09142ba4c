"""The encoding of a shard's text files, decided once for all of them: single ones may be ambiguous."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import fsspec

from ..errors import SampleError
from ..text import common_encoding, is_ambiguous
from ..types import Entry, Shard, Span

log = logging.getLogger(__name__)

# Samples whose texts are looked at: enough to know the rule of a shard, at little cost, also over a network.
_LOCAL, _REMOTE = 64, 8
_MOST_BYTES = 1 << 16


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
    filesystem, _ = fsspec.core.url_to_fs(shard.uri)
    count = _LOCAL if "file" in filesystem.protocol else _REMOTE
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
                filesystem, path = fsspec.core.url_to_fs(span.uri)
                yield filesystem.cat_file(path, start=0, end=_MOST_BYTES)
            elif (span.length or 0) <= _MOST_BYTES:
                yield read(span)
        except (OSError, SampleError):
            continue  # reported when the sample is read

"""Where a row's picture is, and its bytes: in a tar or parquet file, in a file, or behind a URL if that is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..datasets import Span, read_span
from .fetch import fetch

_ADVICE = "put it back to where it was embedded from"


def read_pixels(metadata: Mapping[str, Any], *, from_url: bool = False, private_hosts: bool = False) -> bytes:
    """The bytes of a row's picture as they were embedded.

    Args:
        metadata: the row's, with `shard`, `offset`, `length`, `image_path` and `url`.
        from_url: whether a picture that is not on this machine may be downloaded from its URL.
        private_hosts: whether that may be in a private network.

    Raises:
        FileNotFoundError: if the picture is no longer where it was, and not to be had from a URL either.
    """
    url = metadata.get("url")
    try:
        return _from_shard(metadata)
    except FileNotFoundError:
        if not from_url or not url:
            raise
    return fetch(url, private_hosts=private_hosts)


def _from_shard(metadata: Mapping[str, Any]) -> bytes:
    span = _span(metadata)
    try:
        return read_span(span)
    except OSError as error:
        raise FileNotFoundError(
            f"the pixels of {metadata.get('key', 'the row')} cannot be read from {span.uri} ({error}); {_ADVICE}"
        ) from error


def _span(metadata: Mapping[str, Any]) -> Span:
    shard, offset, length, path = (metadata[name] for name in ("shard", "offset", "length", "image_path"))
    key = metadata.get("key", "the row")
    if offset is not None:
        return Span(uri=shard, offset=offset, length=length)
    if shard is None:  # an imported row
        if not path or not Path(path).is_file():
            raise FileNotFoundError(f"the row {key} was imported, and no picture of it is known on this machine")
        return Span(uri=path)
    if shard.endswith(".parquet"):
        column, _, row = path.rpartition("/")
        return Span(uri=shard, column=column, row=int(row))
    if shard.endswith((".gz", ".tgz")):
        raise FileNotFoundError(f"{key} lies in the compressed {shard}, from which no single picture can be read")
    return Span(uri=f"{shard}/{path}")

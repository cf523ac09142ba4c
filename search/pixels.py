"""The bytes of a row's image: from where its gallery has them, or from its URL if that is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ..datasets import PixelsError, Place, SampleError, ShardError, Span, locate, read_span
from .fetch import fetch

_ADVICE = (
    "put the file back to where it was when it was embedded, or say where it is now: diantu status --relocate OLD NEW"
)


# The columns that lead to a row's image, or name it where it cannot be read.
LEADING = ("key", "shard", "offset", "length", "image_path", "url")


class ImageSource(Protocol):
    """Where the image of a row is read from."""

    def read(self, metadata: Mapping[str, Any], size: int | None) -> bytes:
        """The bytes of the image's file as they were embedded, or of a smaller copy.

        Args:
            metadata: the row's metadata.
            size: if a copy of at most so many pixels in width and height serves as well.

        Raises:
            PixelsError: if the image is no longer where it was.
        """
        ...


class _Shards:
    """The shards that images were embedded from, on this machine or where their URIs lead."""

    def read(self, metadata: Mapping[str, Any], size: int | None) -> bytes:
        """See `ImageSource.read`; there are no smaller copies."""
        del size
        return _from_shard(metadata)


SHARDS: ImageSource = _Shards()


def read_pixels(
    metadata: Mapping[str, Any],
    *,
    source: ImageSource = SHARDS,
    size: int | None = None,
    from_url: bool = False,
    private_hosts: bool = False,
) -> bytes:
    """The bytes of a row's image as they were embedded, or of a smaller copy.

    Args:
        metadata: the row's metadata, with `shard`, `offset`, `length`, `image_path` and `url`.
        source: where the image is read from.
        size: if a copy of at most so many pixels in width and height serves as well.
        from_url: whether an image that the source no longer has may be downloaded from its URL.
        private_hosts: whether that URL may be in a private network.

    Raises:
        PixelsError: if the image is no longer where it was, and cannot be downloaded from a URL either.
    """
    url = metadata.get("url")
    try:
        return source.read(metadata, size)
    except FileNotFoundError:
        if not from_url or not url:
            raise
    return fetch(url, private_hosts=private_hosts)


def _from_shard(metadata: Mapping[str, Any]) -> bytes:
    span = _span(metadata)
    try:
        return read_span(span)
    except (OSError, SampleError, ShardError) as error:
        raise PixelsError(
            f"the pixels of {metadata.get('key', 'the row')} cannot be read from {span.uri} ({error}); {_ADVICE}"
        ) from error


def _span(metadata: Mapping[str, Any]) -> Span:
    shard, offset, length, path = (metadata[name] for name in ("shard", "offset", "length", "image_path"))
    if shard is not None:
        return locate(Place(shard=shard, offset=offset, length=length, image_path=path))
    # The row was imported: at most the path of its image is known.
    if not path or not Path(path).is_file():
        known = f"its image {path} is not on this machine; {_ADVICE}" if path else "the path of its image is not known"
        raise PixelsError(f"{metadata.get('key', 'the row')} was imported, and {known}")
    return Span(uri=path)

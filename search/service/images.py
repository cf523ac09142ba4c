"""The images of rows: their original bytes, and thumbnails."""

from __future__ import annotations

import io
import urllib.parse
from collections.abc import Mapping
from typing import Any

from PIL import Image

from ...datasets import SampleError
from ...datasets.decoding import decode_guarded, media_type
from ...datasets.errors import PixelsError
from ..pixels import LEADING, read_pixels
from .context import Context
from .served import Opened

_QUALITY = 85
# The pixels of a thumbnail are averages of those of an image at least this many times as wide.
_OVERSAMPLING = 2


def original(context: Context, opened: Opened, row: int) -> bytes:
    """The bytes of a row's image as they were embedded.

    Raises:
        RowError: if there is no such row.
        PixelsError: if the image is not where it was. It is downloaded only where the service may do that.
    """
    return original_of(context, row, opened.gallery.rows([row], columns=LEADING)[0])


def original_of(context: Context, row: int, metadata: Mapping[str, Any]) -> bytes:
    """The same by the row's metadata.

    Raises:
        PixelsError: as `original`.
    """
    data = read_pixels(metadata, from_url=context.settings.allow_urls)
    if metadata["shard"] is None and media_type(data) is None:
        # Nobody has looked at it yet: the table of an import may name any file of this machine, or any page of the web.
        raise PixelsError(f"row {row} was imported, and what its path or URL leads to is not an image")
    return data


def thumbnail(
    context: Context, opened: Opened, row: int, size: int, metadata: Mapping[str, Any] | None = None
) -> bytes:
    """A row's image as JPEG, at most `size` pixels wide and high. Recent thumbnails are kept.

    Args:
        context: of the service.
        opened: the gallery.
        row: the row id.
        size: in pixels.
        metadata: the row's, if it was read already.

    Raises:
        RowError: if there is no such row.
        PixelsError: if the image is not where it was, or the bytes there are not an image.
    """
    opened.gallery.check_rows([row])
    key = (*opened.parts([row]), row, size)
    if (kept := context.thumbnails.get(key)) is not None:
        return kept
    data = original(context, opened, row) if metadata is None else original_of(context, row, metadata)
    try:
        with context.decoding, context.metrics.decode.time():
            decoded = decode_guarded(data, seconds=context.settings.deadline, at_least=_OVERSAMPLING * size)
            image = Image.fromarray(decoded.rgb_HWC)
            image.thumbnail((size, size), Image.Resampling.LANCZOS)
    except SampleError as error:
        raise PixelsError(f"the bytes of row {row} are not an image any more ({error})") from error
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    context.thumbnails.put(key, buffer.getvalue())
    return buffer.getvalue()


def attachment(name: str) -> dict[str, str]:
    """The header that makes a browser save an answer as a file (RFC 6266).

    Args:
        name: of the file; letters of all languages are possible.
    """
    ascii_name = "".join(each if each.isascii() and (each.isalnum() or each in "._-") else "_" for each in name)
    quoted = urllib.parse.quote(name, safe="")
    return {"Content-Disposition": f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quoted}"}

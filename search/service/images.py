"""The images of rows: their original bytes, and thumbnails."""

from __future__ import annotations

import io
import urllib.parse

from PIL import Image

from ...datasets import SampleError
from ...datasets.decoding import decode_guarded
from ...datasets.errors import PixelsError
from ..pixels import read_pixels
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
    return read_pixels(opened.gallery.rows([row])[0], from_url=context.settings.allow_urls)


def thumbnail(context: Context, opened: Opened, row: int, size: int) -> bytes:
    """A row's image as JPEG, at most `size` pixels wide and high. Recent thumbnails are kept.

    Raises:
        RowError: if there is no such row.
        PixelsError: if the image is not where it was, or the bytes there are not an image.
    """
    opened.gallery.check_rows([row])
    key = (*opened.parts([row]), row, size)
    if (kept := context.thumbnails.get(key)) is not None:
        return kept
    data = original(context, opened, row)
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

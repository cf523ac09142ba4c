"""Encoded bytes → RGB pixels, for every kind of image file that is in use."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import Reason, SampleError, first_line
from . import limits
from .conversion import to_rgb, upright
from .formats import possible_formats
from .jpeg import plain_pixels, stored_pixels
from .orientation import UnreadableExifError, orientation_of
from .stripping import strip

NO_MEMORY = "decoding takes more memory than one image may have"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The pixels of an image, and what of its file could not be read beside them.

    Attributes:
        rgb_HWC: uint8.
        notes: sentences that say which metadata is broken, and so was left out; to be counted.
    """

    rgb_HWC: np.ndarray
    notes: tuple[str, ...] = ()


def decode(data: bytes) -> np.ndarray:
    """Decodes the first frame of an image to `rgb_HWC`, uint8.

    The image is rotated by its EXIF orientation and flattened on white; grey, palette, CMYK, 16-bit and float images
    become RGB. Of metadata only the orientation is read, and if it cannot be read the image is taken as upright.

    An image whose header declares more pixels than Pillow's `Image.MAX_IMAGE_PIXELS` (89 million unless changed), or
    whose decoding needs more memory than a plain image of that many pixels, is refused before anything is decoded.

    Raises:
        SampleError: for one of the reasons empty, undecodable, truncated, too_large, unsupported_mode.
    """
    return decode_with_notes(data).rgb_HWC


def decode_with_notes(data: bytes, *, at_least: int | None = None) -> Decoded:
    """Decodes as `decode` does, and says what of the file was broken beside the pixels; raises as `decode` does.

    Args:
        data: the encoded image.
        at_least: for thumbnails: a JPEG may be decoded at a half, a quarter or an eighth of its size, which takes less
            time, as long as its longer side has so many pixels.
    """
    if not data:
        raise SampleError(Reason.EMPTY, "the file has no bytes")
    problem: SampleError | None = None
    formats = possible_formats(data)
    for image_format in formats:
        try:
            with one_error():
                return _decode(data, image_format, at_least)
        except _OtherFormatError:
            continue
        except SampleError as error:
            problem = problem or error
    if problem is None:
        as_what = f"begin like {formats[0]}, but have no such image" if len(formats) == 1 else "are no known image"
        problem = SampleError(Reason.UNDECODABLE, f"the bytes {as_what}")
    raise problem


class _OtherFormatError(Exception):
    """The bytes do not have this format."""


def _decode(data: bytes, image_format: str, at_least: int | None) -> Decoded:
    stripped = strip(data, image_format)
    notes = list(stripped.notes)
    if image_format == "JPEG" and at_least is None and (stored_HWC := plain_pixels(stripped.data)) is not None:
        orientation = _noted_orientation(stripped.exif, stripped.xmp, notes)
        return Decoded(rgb_HWC=upright(stored_HWC, orientation), notes=tuple(notes))
    with _open(stripped.data, image_format) as image:
        limits.check(image, stripped.data)
        stored_HWC = stored_pixels(image, stripped.data) if at_least is None else None
        if at_least is not None:
            share = at_least / max(image.size)
            image.draft(None, (math.ceil(image.width * share), math.ceil(image.height * share)))
        if stored_HWC is None:
            image.load()
        orientation = _orientation(image, stripped.exif, stripped.xmp, notes)
        rgb_HWC = to_rgb(image, orientation) if stored_HWC is None else upright(stored_HWC, orientation)
        return Decoded(rgb_HWC=rgb_HWC, notes=tuple(dict.fromkeys(notes)))


def _open(data: bytes, image_format: str) -> Image.Image:
    if image_format == "HEIF":
        # Not registered with Pillow: importing diantu must not change what `Image.open` does.
        from pillow_heif import HeifImageFile

        return HeifImageFile(io.BytesIO(data))
    try:
        return Image.open(io.BytesIO(data), formats=(image_format,))
    except UnidentifiedImageError as error:
        raise _OtherFormatError from error


def _orientation(image: Image.Image, exif: bytes, xmp: bytes, notes: list[str]) -> int:
    if image.format == "HEIF":  # libheif has turned it
        return 1
    exif, xmp = exif or image.info.get("exif", b""), xmp or image.info.get("xmp", b"")
    if image.format == "AVIF":  # only the container's own properties count, from which Pillow makes an EXIF block
        xmp = b""
    return _noted_orientation(exif, xmp, notes)


def _noted_orientation(exif: bytes, xmp: bytes, notes: list[str]) -> int:
    try:
        return orientation_of(exif, xmp)
    except UnreadableExifError as error:
        notes.append(str(error))
        return 1


def orientation_of_image(image: Image.Image) -> int:
    """The orientation of an image that was opened with Pillow, from its `info`."""
    blocks = [image.info.get(name) for name in ("exif", "xmp", "XML:com.adobe.xmp")]
    exif, *packets = [block.encode() if isinstance(block, str) else block or b"" for block in blocks]
    return _orientation(image, exif, b"".join(packets), [])


@contextmanager
def one_error() -> Iterator[None]:
    """Turns all that Pillow and its plugins raise on broken bytes, which is almost anything, into `SampleError`."""
    try:
        yield
    except (SampleError, _OtherFormatError):
        raise
    except MemoryError as error:
        raise SampleError(Reason.TOO_LARGE, NO_MEMORY) from error
    except Image.DecompressionBombError as error:
        raise SampleError(Reason.TOO_LARGE, first_line(error)) from error
    except Exception as error:
        reason = Reason.TRUNCATED if "truncated" in str(error).lower() else Reason.UNDECODABLE
        raise SampleError(reason, first_line(error)) from error

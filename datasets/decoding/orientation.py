"""The orientation that a camera noted: all that is needed of EXIF and XMP, read within bounds.

Pillow's own reader converts and rewrites the whole block, so that one odd value of any other field costs the image.
"""

from __future__ import annotations

import re
import struct

_ORIENTATION = 0x0112
_INTEGERS = {1: "B", 3: "H", 4: "L"}  # EXIF's types BYTE, SHORT and LONG → struct's
_MOST_FIELDS = 4096
_XMP = re.compile(rb"tiff:Orientation(?:=[\"']|>)\s*([1-8])")


class UnreadableExifError(ValueError):
    """An EXIF block is broken, or its orientation is none of 1 to 8."""


def orientation_of(exif: bytes, xmp: bytes = b"") -> int:
    """The orientation of an image, 1 (upright) to 8, as EXIF defines it; 1 if neither block says one.

    Args:
        exif: the EXIF block with or without its prefix; it wins.
        xmp: the XMP packet.

    Raises:
        UnreadableExifError: if the EXIF block cannot be read as far as needed.
    """
    block = exif.removeprefix(b"Exif\0\0")
    found = _of_exif(block) if block else None
    if found is None and (match := _XMP.search(xmp)):
        return int(match[1])
    return found or 1


def _of_exif(tiff: bytes) -> int | None:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        raise UnreadableExifError("the EXIF block does not begin with a byte order")
    try:
        (start,) = struct.unpack_from(order + "L", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        found = None
        for at in range(start + 2, start + 2 + 12 * min(count, _MOST_FIELDS), 12):
            tag, kind, number = struct.unpack_from(order + "HHL", tiff, at)
            if tag == _ORIENTATION:
                found = _value(tiff, order, kind, number, at + 8)  # of several, the last one counts, as in Pillow
        return found
    except struct.error as error:
        raise UnreadableExifError("the EXIF block ends early") from error


def _value(tiff: bytes, order: str, kind: int, number: int, at: int) -> int:
    if kind not in _INTEGERS or number != 1:
        raise UnreadableExifError("the orientation in the EXIF block is no integer")
    (value,) = struct.unpack_from(order + _INTEGERS[kind], tiff, at)
    if value > 8:
        raise UnreadableExifError(f"the orientation in the EXIF block is {value}; it must be 1 to 8")
    return value or 1  # cameras write 0 for "unknown"

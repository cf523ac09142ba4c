"""Removes what is not pixels from a file before it is decoded, so that broken metadata cannot cost the image.

Decoders read all that they know: an odd EXIF value, a text chunk above a limit, a wrong checksum of a profile makes
Pillow refuse a file whose pixels are fine. Here the container is walked, and only what the pixels need stays.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

_MOST_METADATA_BYTES = 1 << 20  # of a block that may hold an orientation
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_EXIF_KEYWORDS = (b"Raw profile type exif", b"Raw profile type APP1")  # how ImageMagick writes EXIF into a PNG


@dataclass(slots=True)
class Stripped:
    """A file without metadata.

    Attributes:
        data: what the decoder gets.
        exif: the EXIF block, if it was removed.
        xmp: the XMP packet, if it was removed.
        notes: what was found broken among the removed blocks, as sentences without names and numbers, to be counted.
    """

    data: bytes
    exif: bytes = b""
    xmp: bytes = b""
    notes: list[str] = field(default_factory=list)


def strip(data: bytes, image_format: str) -> Stripped:
    """The file with its pixels only. A file that cannot be walked to its end keeps the rest as it is."""
    walk = _WALKS.get(image_format)
    return walk(data) if walk else Stripped(data)


def _jpeg(data: bytes) -> Stripped:
    """Keeps the tables, the frame and the scans, and the two application segments that say how colours are stored."""
    kept, result = [data[:2]], Stripped(data)
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:  # no segments: fill bytes and restarts
            at += 2 if marker != 0xFF else 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0xDA, 0xD9) or end > len(data):
            break
        body = data[at + 4 : end]
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            result.exif = result.exif or body
        elif marker == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            result.xmp = result.xmp or body
        elif marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14:
            kept.append(b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0")
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            kept.append(b"\xff\xee\0\x0e" + body[:12])
        elif not 0xE0 <= marker <= 0xEF and marker != 0xFE:
            kept.append(data[at:end])
        at = end
    result.data = b"".join([*kept, data[at:] if at >= 0 else b""])
    return result


_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


def _png(data: bytes) -> Stripped:
    """Keeps the critical chunks and the transparency; of an animation, the default image."""
    view, result = memoryview(data), Stripped(data)
    kept: list[bytes | memoryview] = [data[:8]]
    at, color_type = 8, None
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">L4s", data, at)
        end = at + 12 + length
        if end > len(data) or name == b"IEND":
            break
        if name == b"IHDR" and length == 13:
            color_type = data[at + 8 + 9]
        is_critical = not name[0] & 0x20 and not (name == b"PLTE" and color_type != 3)
        if is_critical:
            kept.append(view[at:end])
        elif zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            result.notes.append("a PNG chunk beside the pixels has a wrong checksum")
        elif name == b"tRNS":
            kept.append(view[at:end])
        elif name == b"eXIf":
            result.exif = bytes(view[at + 8 : end - 4][:_MOST_METADATA_BYTES])
        elif name in (b"tEXt", b"zTXt", b"iTXt"):
            _png_text(name, view[at + 8 : end - 4], result)
        at = end
    is_cut_off = data[at + 4 : at + 8] == b"IDAT"
    result.data = b"".join([*kept, view[at:] if is_cut_off else _PNG_END])
    return result


def _png_text(name: bytes, body: memoryview, result: Stripped) -> None:
    keyword, _, _ = bytes(body[:80]).partition(b"\0")
    if keyword != _XMP_KEYWORD and keyword not in _EXIF_KEYWORDS:
        return
    rest = bytes(body[len(keyword) + 1 : len(keyword) + 1 + _MOST_METADATA_BYTES])
    is_compressed = name == b"zTXt"
    if name == b"zTXt":
        rest = rest[1:]  # the method
    elif name == b"iTXt":
        is_compressed, rest = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    try:
        text = zlib.decompressobj().decompress(rest, _MOST_METADATA_BYTES) if is_compressed else rest
        if keyword == _XMP_KEYWORD:
            result.xmp = result.xmp or text
        elif not result.exif:  # "\nexif\n", the length, and hexadecimal digits in lines
            result.exif = bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except (zlib.error, ValueError):
        result.notes.append("a PNG text chunk that may hold the orientation cannot be read")


# TIFF's tags that say how the pixels are stored, by TIFF 6.0 and its supplements: size, compression, strips and tiles,
# palette, extra samples, JPEG tables, YCbCr, LERC.
_TIFF_PIXEL_TAGS = frozenset({
    254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 338, 339,
    340, 341, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 50674,
})  # fmt: skip
_TIFF_ORIENTATION = 274


def _tiff(data: bytes) -> Stripped:
    """Keeps the tags of the first image that the pixels need, and makes its directory the last one."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    is_big = data[2:4] in (b"+\0", b"\0+")
    offset, number, width = ("Q", "Q", 20) if is_big else ("L", "H", 12)
    try:
        (start,) = struct.unpack_from(order + offset, data, 8 if is_big else 4)
        (count,) = struct.unpack_from(order + number, data, start)
        first = start + struct.calcsize(order + number)
        end = first + count * width
        if end + struct.calcsize(order + offset) > len(data):
            return Stripped(data)
        entries = [data[at : at + width] for at in range(first, end, width)]
    except struct.error:
        return Stripped(data)
    tags = [struct.unpack_from(order + "H", entry)[0] for entry in entries]
    kept = [entry for tag, entry in zip(tags, entries, strict=True) if tag in _TIFF_PIXEL_TAGS]
    turned = [entry for tag, entry in zip(tags, entries, strict=True) if tag == _TIFF_ORIENTATION]
    directory = struct.pack(order + number, len(kept)) + b"".join(kept) + b"\0" * struct.calcsize(order + offset)
    exif = b"" if is_big or not turned else data[:4] + struct.pack(order + "LH", 8, 1) + turned[0]
    if is_big and turned:
        exif = _classic(order, turned[0])
    return Stripped(b"".join([data[:start], directory, data[start + len(directory) :]]), exif=exif)


def _classic(order: str, entry: bytes) -> bytes:
    """An EXIF block with one entry of a BigTIFF."""
    tag, kind, count = struct.unpack_from(order + "HHQ", entry)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "LH", 8, 1)
    return head + struct.pack(order + "HHL", tag, kind, min(count, 2**32 - 1)) + entry[12:16]


# An item's entry in the table of an ISO base media file (ISO/IEC 14496-12, `infe`), up to its type.
_EXIF_ITEM = re.compile(rb"(infe(?:\x02.{7}|\x03.{9}))Exif", re.DOTALL)


def _iso_media(data: bytes) -> Stripped:
    """Hides the EXIF item: in AVIF and HEIF, only the container's own properties turn the image."""
    return Stripped(_EXIF_ITEM.sub(rb"\1skip", data))


_WALKS: dict[str, Callable[[bytes], Stripped]] = {
    "JPEG": _jpeg, "PNG": _png, "TIFF": _tiff, "AVIF": _iso_media, "HEIF": _iso_media,
}  # fmt: skip

"""Metadata never costs the image: only the orientation is read, and what is broken is left out and noted."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from fuzzing import rounds
from pictures import encoded, picture
from PIL import Image, ImageOps

from diantu.datasets import SampleError, decode
from diantu.datasets.decoding import decode_with_notes

SIZE = (24, 16)
ORIENTATION = 0x0112
FORMATS = {
    "JPEG": {"quality": 95}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "TIFF/lzw": {"compression": "tiff_lzw"},
    "AVIF": {}, "GIF": {}, "BMP": {}, "JPEG2000": {}, "ICO": {"sizes": [SIZE]}, "TGA": {}, "QOI": {}, "PCX": {},
}  # fmt: skip


def written(name: str, **further: object) -> bytes:
    return encoded(picture(1, SIZE), name.split("/")[0], **FORMATS[name], **further)


def exif_block(orientation: int, *entries: tuple[int, int, int, bytes]) -> bytes:
    """A block with an orientation and other entries: tag, type, count, value."""
    directory, beyond = b"", b""
    fields = sorted([(ORIENTATION, 3, 1, struct.pack("<HH", orientation, 0)), *entries])
    for tag, kind, count, value in fields:
        if len(value) > 4:
            place = struct.pack("<L", 8 + 2 + 12 * len(fields) + 4 + len(beyond))
            value, beyond = place, beyond + value
        directory += struct.pack("<HHL", tag, kind, count) + value.ljust(4, b"\0")
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(fields)) + directory + b"\0\0\0\0" + beyond


def with_exif(name: str, block: bytes) -> bytes:
    """The picture as JPEG or PNG with any bytes as its EXIF block; Pillow would check them."""
    data = written(name)
    if name == "JPEG":
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    return with_chunks(data, chunk(b"eXIf", block.removeprefix(b"Exif\0\0")))


def chunk(name: bytes, body: bytes, crc: int | None = None) -> bytes:
    checksum = zlib.crc32(name + body) if crc is None else crc
    return struct.pack(">L", len(body)) + name + body + struct.pack(">L", checksum)


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    return png[:33] + b"".join(chunks) + png[33:]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "TIFF/lzw", "AVIF"])
def test_every_container_is_turned_once(name: str, orientation: int) -> None:
    if name.startswith("TIFF"):
        data = written(name, tiffinfo={ORIENTATION: orientation})
    else:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        data = written(name, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(decode(data), expected)


ODD_ENTRIES = {
    "zero denominator": (0x011A, 10, 1, struct.pack("<ll", -1, 0)),
    "signed unit": (0x0128, 9, 1, b"\xff" * 4),
    "rationals as text": (0x0131, 10, 4, b"\0" * 32),
    "not a number": (0x011A, 12, 1, b"\xff" * 8),
    "unknown type": (0x0131, 99, 7, b"\xff" * 4),
    "value far outside": (0x8769, 4, 1, b"\xff" * 4),
    "enormous count": (0x9286, 7, 2**32 - 1, b"\xff" * 4),
}


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
@pytest.mark.parametrize("entry", ODD_ENTRIES.values(), ids=ODD_ENTRIES)
def test_an_odd_exif_value_costs_neither_image_nor_orientation(name: str, entry: tuple[int, int, int, bytes]) -> None:
    decoded = decode_with_notes(with_exif(name, exif_block(6, entry)))
    assert decoded.rgb_HWC.shape == (24, 16, 3)
    assert not decoded.notes


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    "block", [b"Exif\0\0", b"Exif\0\0XX", exif_block(6)[:20], exif_block(99), b"Exif\0\0II*\0\xff\xff\xff\xff"]
)
def test_an_unreadable_orientation_means_upright(name: str, block: bytes) -> None:
    decoded = decode_with_notes(with_exif(name, block))
    np.testing.assert_array_equal(decoded.rgb_HWC, decode(written(name)))
    assert bool(decoded.notes) == (len(block) > 6)


@pytest.mark.parametrize(
    ("name", "body", "crc"),
    [
        (b"tEXt", b"parameters\0" + b"a prompt " * 300_000, None),
        (b"zTXt", b"workflow\0\0" + zlib.compress(bytes(80_000_000)), None),
        (b"zTXt", b"workflow\0\x07nothing", None),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0not compressed", None),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(4_000_000)), None),
        (b"iCCP", b"profile\0\x09broken", None),
        (b"pHYs", b"\0", None),
        (b"gAMA", b"\0\0\0\1", 12345),
        (b"tIME", b"\xff" * 7, None),
        (b"acTL", b"\xff" * 8, None),
        (b"tRNS", b"\0", 1),
    ],
    ids=lambda value: value.decode("latin-1") if isinstance(value, bytes) and len(value) == 4 else "",
)
def test_a_chunk_beside_the_pixels_does_not_cost_the_image(name: bytes, body: bytes, crc: int | None) -> None:
    data = written("PNG")
    decoded = decode_with_notes(with_chunks(data, chunk(name, body, crc)))
    np.testing.assert_array_equal(decoded.rgb_HWC, decode(data))
    assert bool(decoded.notes) == (crc is not None or b"XML" in body)


def test_orientation_in_xmp_and_in_a_raw_profile() -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    profile = b"\nexif\n      99\n" + exif_block(6).hex().encode() + b"\n"
    for text in (
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)),
    ):
        assert decode(with_chunks(written("PNG"), text)).shape == (24, 16, 3)


def test_odd_tags_of_a_tiff_do_not_cost_the_image() -> None:
    data = bytearray(written("TIFF", tiffinfo={305: "x" * 40, 282: 72.0, 33432: "y" * 40}))
    expected = decode(bytes(data))
    start = int.from_bytes(data[4:8], "little")
    for at in range(start + 2, start + 2 + 12 * int.from_bytes(data[start : start + 2], "little"), 12):
        if int.from_bytes(data[at : at + 2], "little") in (282, 305, 33432):
            data[at + 2 : at + 12] = b"\xff" * 10
    np.testing.assert_array_equal(decode(bytes(data)), expected)


@pytest.mark.fuzz
def test_fuzzed_exif_leaves_the_pixels_as_they_are() -> None:
    """An orientation may be turned into another valid one; then the image is turned, too."""
    rng = np.random.default_rng(5)
    upright = {name: decode(written(name)) for name in ("JPEG", "PNG")}
    whole = exif_block(6, *ODD_ENTRIES.values())
    for _ in range(rounds(150)):
        block = bytearray(whole[: rng.integers(6, len(whole) + 1)])
        for at in rng.integers(6, max(7, len(block)), rng.integers(0, 6)):
            block[at : at + 1] = bytes([rng.choice([0, 1, 127, 255, rng.integers(256)])]) if at < len(block) else b""
        for name, expected in upright.items():
            pixels = decode(with_exif(name, bytes(block)))
            assert any(
                np.array_equal(np.asarray(turn), pixels)
                for base in (np.rot90(expected, k) for k in range(4))
                for turn in (base, base[::-1])
            )


@pytest.mark.fuzz
def test_fuzzed_chunks_leave_the_pixels_as_they_are() -> None:
    rng = np.random.default_rng(6)
    data = written("PNG")
    expected = decode(data)
    names = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"bKGD", b"tIME", b"acTL", b"fcTL")
    for _ in range(rounds(150)):
        body = rng.bytes(int(rng.integers(0, 40)))
        crc = int(rng.integers(2**32)) if rng.random() < 0.3 else None
        mutated = with_chunks(data, chunk(names[rng.integers(len(names))], body, crc))
        np.testing.assert_array_equal(decode(mutated), expected)


@pytest.mark.fuzz
def test_fuzzed_files_raise_no_other_error() -> None:
    rng = np.random.default_rng(7)
    whole = {name: written(name) for name in FORMATS}
    names = list(whole)
    outcomes = set()
    for number in range(rounds(300)):
        data = bytearray(whole[names[number % len(names)]])
        for at in rng.integers(0, len(data), rng.integers(1, 12)):
            data[at] = rng.integers(256)
        if rng.random() < 0.3:
            del data[rng.integers(0, len(data)) :]
        try:
            outcomes.add(decode(bytes(data)).dtype)
        except SampleError as error:
            outcomes.add(error.reason)
    assert len(outcomes) >= 3

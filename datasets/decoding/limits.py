"""What decoding an image will cost, known from its header: bytes and time are bounded before anything is decoded."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from ..errors import Reason, SampleError

# Bytes per pixel that may be needed: as many as a plain RGB image needs (Pillow keeps it in 4, the result has 3), and 2
# for its file. With Pillow's default of 89 million pixels that is 768 MiB.
_BYTES_PER_PIXEL = 9
_RESULT_BYTES = 3
# Bytes per pixel that Pillow keeps an image of a mode in; 4 for all other modes, also for RGB.
_RGB_BYTES = 4
_STORED_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
# Bytes per pixel that a decoder needs beside the image, measured with Pillow 13 and pillow-heif 1.8: planes in YUV, an
# RGBA canvas, copies between libraries. Formats that are not named need none worth counting.
_DECODER_BYTES = {"WEBP": 12, "AVIF": 12, "HEIF": 10, "QOI": 8, "BLP": 8, "PPM": 4, "PSD": 4, "XPM": 4, "ICNS": 8}
# A pass over a progressive JPEG takes about 10 ns a pixel, whatever it adds; this is half a minute.
_MOST_JPEG_PIXELS = 3_000_000_000
_PIECE = 1 << 20
_CHECKED_INSIDE = ("ICO", "CUR", "ICNS")  # hold whole PNG files, which may be larger than their tables say


def check(image: Image.Image, data: bytes) -> None:
    """Refuses an image that was opened but not decoded, if decoding it would cost too much.

    Raises:
        SampleError: too_large.
    """
    most = Image.MAX_IMAGE_PIXELS  # Pillow only warns above this limit, and refuses above twice the limit
    if most is None:
        return
    for width, height in [image.size, *_sizes_inside(image, data)]:
        if width * height > most:
            raise SampleError(Reason.TOO_LARGE, f"{width} × {height} pixels are more than {most} in total")
    size = f"{image.width} × {image.height} pixels"
    scans = num_scans(data) if image.format == "JPEG" else 0
    needed, allowed = _peak_bytes(image, data, scans), most * _BYTES_PER_PIXEL
    if needed > allowed:
        raise SampleError(
            Reason.TOO_LARGE,
            f"decoding {size} of {image.format}, mode {image.mode}, needs {needed >> 20} MiB of memory; "
            f"{allowed >> 20} MiB are allowed",
        )
    if scans * image.width * image.height > _MOST_JPEG_PIXELS:
        raise SampleError(Reason.TOO_LARGE, f"{size} in {scans} scans would take too long to decode")


def allow_one_scan(width: int, height: int, data: bytes) -> bool:
    """Whether a JPEG in grey or RGB has one scan and is within the limits; the same as `check`, without Pillow."""
    most, pixels = Image.MAX_IMAGE_PIXELS, width * height
    needed = len(data) + (_RGB_BYTES + _RESULT_BYTES) * pixels
    is_small = most is None or (pixels <= most and needed <= most * _BYTES_PER_PIXEL and pixels <= _MOST_JPEG_PIXELS)
    return is_small and num_scans(data) == 1


def num_scans(data: bytes) -> int:
    """The scans of a JPEG. In coded data, 0xFF is followed by 0 or a restart.

    numpy looks for two bytes five times as fast as `bytes.count`; piece by piece, so that it takes no memory.
    """
    view = np.frombuffer(data, np.uint8)
    pieces = (view[start : start + _PIECE + 1] for start in range(0, len(view), _PIECE))
    return sum(int(np.count_nonzero((piece[:-1] == 0xFF) & (piece[1:] == 0xDA))) for piece in pieces)


def _peak_bytes(image: Image.Image, data: bytes, scans: int) -> int:
    """An upper bound of what is in memory at once: the file, the decoder's buffers, the image, the result."""
    pixels = image.width * image.height
    stored = _STORED_BYTES.get(image.mode, 4) * pixels
    if image.format == "JPEG":
        decoder = _jpeg_coefficients(image) if scans > 1 else 0
    elif image.format == "JPEG2000":
        decoder = _jpeg2000_buffers(image, data)
    elif image.format == "TIFF":
        decoder = len(data) + _tiff_buffers(image)
    else:
        decoder = int(_DECODER_BYTES.get(image.format or "", 0) * pixels)
    return len(data) + stored + max(decoder, _RESULT_BYTES * pixels)


def _jpeg_coefficients(image: Image.Image) -> int:
    """A JPEG of several scans keeps all coefficients, 2 bytes each, with subsampling."""
    layers = getattr(image, "layer", [])  # name, horizontal and vertical sampling, table
    most_h, most_v = (max((layer[i] for layer in layers), default=1) for i in (1, 2))
    share = sum(layer[1] * layer[2] for layer in layers) / max(1, most_h * most_v)
    return int(2 * (share or 3) * image.width * image.height)


def _jpeg2000_buffers(image: Image.Image, data: bytes) -> int:
    """OpenJPEG decodes a tile at a time: 4 bytes for each of its values and a copy; SIZ has the tile's size."""
    pixels, bands = image.width * image.height, len(image.getbands())
    at = data.find(b"\xff\x4f\xff\x51")
    if 0 <= at <= len(data) - 44:
        tile_width, tile_height = struct.unpack_from(">LL", data, at + 24)
        pixels = min(pixels, tile_width * tile_height)
        bands = max(bands, min(int.from_bytes(data[at + 40 : at + 42], "big"), 64))
    return 6 * bands * pixels


def _tiff_buffers(image: Image.Image) -> int:
    """Libtiff decodes a strip or a tile at a time."""
    tags = getattr(image, "tag_v2", {})

    def number(tag: int, default: int) -> int:
        value = tags.get(tag, default)
        value = value[0] if isinstance(value, tuple) and value else value
        return value if isinstance(value, int) and value > 0 else default

    width, rows = number(322, image.width), number(323, number(278, image.height))
    depth = (number(258, 8) * number(277, 1) + 7) // 8
    return width * min(rows, max(image.height, number(323, 0))) * max(depth, 4)


def _sizes_inside(image: Image.Image, data: bytes) -> list[tuple[int, int]]:
    if image.format not in _CHECKED_INSIDE:
        return []
    found, at = [], data.find(b"IHDR")
    while 0 <= at <= len(data) - 12:
        found.append(struct.unpack_from(">LL", data, at + 4))
        at = data.find(b"IHDR", at + 4)
    return found

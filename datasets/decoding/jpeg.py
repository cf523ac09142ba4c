"""JPEG, the most common format, by libjpeg-turbo without Pillow's copies. The pixels are those of Pillow."""

from __future__ import annotations

import numpy as np
import simplejpeg
from PIL import Image

from . import limits

_COLORS = ("YCbCr", "RGB", "Gray")


def plain_pixels(data: bytes) -> np.ndarray | None:
    """The pixels of a JPEG with one scan, `rgb_HWC` uint8, before Pillow has even opened it.

    Args:
        data: its bytes, without metadata.

    Returns:
        None for what Pillow opens first: CMYK, several scans, what may be above the limits, and whatever libjpeg-turbo
        says something about.
    """
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
        if colors not in _COLORS or not limits.allow_one_scan(int(width), int(height), data):
            return None
        return simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False, strict=True)
    except ValueError:
        return None


def stored_pixels(image: Image.Image, data: bytes) -> np.ndarray | None:
    """The pixels of a JPEG as they are stored, `rgb_HWC` uint8, in six tenths of Pillow's time.

    Pillow has libjpeg-turbo too, but keeps an image in 4 bytes per pixel, which numpy must get as a copy with 3.

    Args:
        image: the JPEG, opened by Pillow and within the limits.
        data: its bytes.

    Returns:
        None for what is left to Pillow, with its rules and errors: other formats, CMYK, and files of which
        libjpeg-turbo says that something is wrong, such as a missing end.
    """
    if image.format != "JPEG" or image.mode not in ("RGB", "L"):
        return None
    try:
        rgb_HWC = simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False, strict=True)
    except ValueError:
        return None
    return rgb_HWC if rgb_HWC.shape == (image.height, image.width, 3) else None

"""Encoded bytes → RGB pixels, for every kind of image file that is in use."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import Reason, SampleError, first_line

# The formats that Pillow may open. Without a list `Image.open` would try every plugin on untrusted bytes, also the
# one for EPS, which starts Ghostscript.
FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "PCX", "DDS", "PSD", "SGI",
    "FLI", "BLP", "ICNS", "CUR", "QOI", "XBM", "XPM", "SUN", "MSP", "IM", "DIB",
)  # fmt: skip

# The endings of image files, in lower case and without a dot.
IMAGE_EXTENSIONS = frozenset({
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff", "avif", "avifs", "jp2",
    "j2k", "jpf", "jpx", "ppm", "pgm", "pbm", "pnm", "pfm", "tga", "ico", "mpo", "pcx", "dds", "psd", "sgi", "rgb",
    "rgba", "bw", "fli", "flc", "blp", "icns", "cur", "qoi", "xbm", "xpm", "ras", "msp", "im",
})  # fmt: skip


def is_image_name(path: str) -> bool:
    """Whether a file's ending is that of an image; a file whose whole name is `.jpg` is none."""
    stem, dot, extension = path.rpartition(".")
    return bool(stem and dot) and extension.lower() in IMAGE_EXTENSIONS


def decode(data: bytes) -> np.ndarray:
    """Decodes the first frame of an image to `rgb_HWC`, uint8.

    The image is rotated by its EXIF orientation and flattened on white; grey, palette, CMYK, 16-bit and float images
    become RGB. An image whose header declares more pixels than Pillow's `Image.MAX_IMAGE_PIXELS` (89 million unless
    changed) is refused before anything is decoded.

    Raises:
        SampleError: for one of the reasons empty, undecodable, truncated, too_large, unsupported_mode.
    """
    if not data:
        raise SampleError(Reason.EMPTY, "the file has no bytes")
    try:
        return np.asarray(_to_rgb(_open(data)))
    except SampleError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise SampleError(Reason.TOO_LARGE, first_line(error)) from error
    except UnidentifiedImageError as error:
        raise SampleError(Reason.UNDECODABLE, "the bytes are not an image of a known format") from error
    except Exception as error:  # Pillow's plugins raise almost any error on broken bytes
        reason = Reason.TRUNCATED if "truncated" in str(error).lower() else Reason.UNDECODABLE
        raise SampleError(reason, first_line(error)) from error


def _open(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        limit = Image.MAX_IMAGE_PIXELS  # Pillow only warns above this limit, and refuses above twice the limit
        if limit is not None and image.width * image.height > limit:
            raise SampleError(Reason.TOO_LARGE, f"{image.width} × {image.height} pixels are more than {limit} in total")
        image.load()
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return Image.fromarray(_to_8_bits(np.asarray(image), image.mode)).convert("RGB")
    if image.has_transparency_data:
        return _on_white(image if image.mode == "RGBA" else image.convert("RGBA"))
    try:
        return image if image.mode == "RGB" else image.convert("RGB")
    except ValueError as error:
        raise SampleError(Reason.UNSUPPORTED_MODE, f"images of mode {image.mode} have no conversion to RGB") from error


def _on_white(rgba: Image.Image) -> Image.Image:
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


def _to_8_bits(values_HW: np.ndarray, mode: str) -> np.ndarray:
    """Converts grey values of more than 8 bits to uint8.

    16-bit values keep their scale (Pillow's own conversion clipped at 255 in some releases). Mode I is taken to hold
    16-bit values, and mode F values from 0 to 1. Values outside these ranges are stretched to the full range, because
    such files do not say which value is white.
    """
    values_HW = np.nan_to_num(values_HW.astype(np.float64))
    low, high = float(values_HW.min()), float(values_HW.max())
    white = 1.0 if mode == "F" else 65535.0
    if low < 0 or high > white:
        values_HW, white = values_HW - low, max(high - low, 1e-12)
    return np.rint(values_HW * (255 / white)).astype(np.uint8)

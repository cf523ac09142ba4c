"""Encoded bytes → RGB pixels, for every kind of picture that people have lying around."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import Reason, SampleError

# What Pillow may open. Named, because `Image.open` would otherwise try every plugin on untrusted bytes, among them
# EPS, which starts Ghostscript.
FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "PCX", "DDS", "PSD", "SGI",
    "FLI", "BLP", "ICNS", "CUR", "QOI", "XBM", "XPM", "SUN", "MSP", "IM", "DIB",
)  # fmt: skip

# File endings (lower case, no dot) that are taken for pictures in folders and tars.
EXTENSIONS = frozenset({
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff", "avif", "avifs", "jp2",
    "j2k", "jpf", "jpx", "ppm", "pgm", "pbm", "pnm", "pfm", "tga", "ico", "mpo", "pcx", "dds", "psd", "sgi", "rgb",
    "rgba", "bw", "fli", "flc", "blp", "icns", "cur", "qoi", "xbm", "xpm", "ras", "msp", "im",
})  # fmt: skip


def decode(data: bytes) -> np.ndarray:
    """Decodes the first frame of a picture to `rgb_HWC`, uint8.

    The picture is turned as its EXIF says and flattened on white; grey, palette, CMYK, 16-bit and float pictures
    become RGB. Header-declared sizes above Pillow's `Image.MAX_IMAGE_PIXELS` (89 million pixels unless changed) are
    refused before anything is decoded.

    Raises:
        SampleError: with one of the reasons empty, undecodable, truncated, too_large, unsupported_mode.
    """
    if not data:
        raise SampleError(Reason.EMPTY, "the file has no bytes")
    try:
        return np.asarray(_to_rgb(_open(data)))
    except SampleError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise SampleError(Reason.TOO_LARGE, _first_line(error)) from error
    except UnidentifiedImageError as error:
        raise SampleError(Reason.UNDECODABLE, "the bytes are no picture of a known format") from error
    except Exception as error:  # Pillow's plugins raise nearly anything on broken bytes
        reason = Reason.TRUNCATED if "truncated" in str(error).lower() else Reason.UNDECODABLE
        raise SampleError(reason, _first_line(error)) from error


def _open(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        limit = Image.MAX_IMAGE_PIXELS  # from here on Pillow warns; it refuses twice as many
        if limit is not None and image.width * image.height > limit:
            raise SampleError(Reason.TOO_LARGE, f"{image.width} × {image.height} pixels are more than {limit} in all")
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
        raise SampleError(
            Reason.UNSUPPORTED_MODE, f"pictures of mode {image.mode} have no conversion to RGB"
        ) from error


def _on_white(rgba: Image.Image) -> Image.Image:
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


def _to_8_bits(values_HW: np.ndarray, mode: str) -> np.ndarray:
    """Grey values of more than 8 bits → uint8.

    16-bit values keep their scale (Pillow's own conversion of them has clipped at 255 in some releases). Mode I may
    hold 16-bit values or any others, F is often 0..1: values outside 0..65535 and 0..1 are stretched to the full
    range, since such files do not say what is white.
    """
    values_HW = np.nan_to_num(values_HW.astype(np.float64))
    low, high = float(values_HW.min()), float(values_HW.max())
    white = 1.0 if mode == "F" else 65535.0
    if low < 0 or high > white:
        values_HW, white = values_HW - low, max(high - low, 1e-12)
    return np.rint(values_HW * (255 / white)).astype(np.uint8)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

"""Images of every mode → `rgb_HWC` uint8, upright and on white, strip by strip so that no second copy is in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from PIL import Image

from ..errors import Reason, SampleError

_STRIP_PIXELS = 1 << 20


def to_rgb(image: Image.Image, orientation: int) -> np.ndarray:
    """A decoded image to `rgb_HWC`, uint8.

    Args:
        image: of any mode; it is loaded if it is not yet. Palettes, CMYK, grey values of 16 and 32 bits and floats are
            converted, transparent parts become white.
        orientation: of EXIF, 1 to 8; 1 for an image that is upright.

    Raises:
        SampleError: unsupported_mode, if the mode has no conversion to RGB.
    """
    width, height = image.size
    upright_HWC = np.empty((width, height, 3) if orientation >= 5 else (height, width, 3), np.uint8)
    stored_HWC = _as_stored(upright_HWC, orientation)
    rows = max(1, _STRIP_PIXELS // width)
    convert = _converter(image, rows)
    for top, strip in _strips(image, rows):
        stored_HWC[top : top + strip.height] = convert(strip)
    return upright_HWC


def upright(stored_HWC: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels as they are stored in the file to upright ones; see `to_rgb`. The same array if they are upright."""
    if orientation == 1:
        return stored_HWC
    height, width = stored_HWC.shape[:2]
    upright_HWC = np.empty((width, height, 3) if orientation >= 5 else (height, width, 3), np.uint8)
    _as_stored(upright_HWC, orientation)[:] = stored_HWC
    return upright_HWC


def _as_stored(upright_HWC: np.ndarray, orientation: int) -> np.ndarray:
    """A view of the upright pixels in which they lie as they are stored in the file."""
    view = upright_HWC.transpose(1, 0, 2) if orientation >= 5 else upright_HWC
    rows = slice(None, None, -1 if orientation in (3, 4, 6, 7) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 7, 8) else 1)
    return view[rows, columns]


def _strips(image: Image.Image, rows: int) -> Iterator[tuple[int, Image.Image]]:
    image.load()
    if image.height <= rows:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _converter(image: Image.Image, rows: int) -> Callable[[Image.Image], np.ndarray]:
    """The conversion of a strip of the image to `rgb_HWC`."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        scale = grey_scale(image.mode, (np.asarray(strip) for _, strip in _strips(image, rows)))
        key = image.info.get("transparency")

        def from_grey(strip: Image.Image) -> np.ndarray:
            values_HW = np.asarray(strip)
            grey_HW = scale(values_HW)
            if isinstance(key, int):
                grey_HW[values_HW == key] = 255
            return grey_HW[..., None]

        return from_grey
    if image.has_transparency_data:
        return lambda strip: np.asarray(_on_white(strip))
    return lambda strip: np.asarray(_opaque(strip))


def _opaque(image: Image.Image) -> Image.Image:
    try:
        return image if image.mode == "RGB" else image.convert("RGB")
    except ValueError as error:
        raise SampleError(Reason.UNSUPPORTED_MODE, f"images of mode {image.mode} have no conversion to RGB") from error


def _on_white(image: Image.Image) -> Image.Image:
    image = image.convert("LA") if image.mode == "La" else image  # Pillow has no way from La to RGBA
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


def grey_scale(mode: str, strips: Iterable[np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the conversion of values with more than 8 bits to uint8.

    16-bit values keep their scale (Pillow's own conversion clipped at 255 in some releases). Mode I is taken to hold
    16-bit values, and mode F values from 0 to 1. Values outside these ranges are stretched to the full range, because
    such files do not say which value is white. NaN becomes black.

    Args:
        mode: `F` for floats; any other for integers.
        strips: all values of the image, in pieces.
    """
    white, low = (1.0 if mode == "F" else 65535.0), 0.0
    if not mode.startswith("I;16"):
        finite = (values[np.isfinite(values)] for values in strips)
        ranges = [(float(values.min()), float(values.max())) for values in finite if values.size]
        least, most = min((r[0] for r in ranges), default=0.0), max((r[1] for r in ranges), default=0.0)
        if least < 0 or most > white:
            low, white = least, max(most - least, 1e-12)

    def scale(values: np.ndarray) -> np.ndarray:
        share = (values.astype(np.float64) - low) * (255 / white)
        return np.rint(np.clip(np.nan_to_num(share, nan=0.0, posinf=255.0, neginf=0.0), 0, 255)).astype(np.uint8)

    return scale

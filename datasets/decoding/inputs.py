"""An image in any form that a program may have it in → `rgb_HWC`, by the same steps as the bytes of its file."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageFile

from ..errors import InputError, Reason, SampleError
from .conversion import grey_scale, to_rgb
from .images import decode, one_error, orientation_of_image

ImageInput: TypeAlias = "str | Path | bytes | bytearray | memoryview | Image.Image | np.ndarray"

_MOST_FILE_BYTES = 1 << 30
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # of an array, by its channels


def pixels_of(image: ImageInput) -> np.ndarray:
    """An image to `rgb_HWC`, uint8. The same image gives the same pixels in every form.

    Args:
        image: a path, encoded bytes, a PIL image, or an array of height × width or height × width × channels (1 grey,
            2 grey and alpha, 3 RGB, 4 RGBA) of uint8, bool, uint16 or float from 0 to 1.

    Raises:
        InputError: if it is nothing of that.
        OSError: if it is a path that cannot be read.
        SampleError: if it is a file or a PIL image that cannot be decoded.
    """
    if isinstance(image, np.ndarray):
        return _of_array(image)
    if isinstance(image, Image.Image):
        return _of_picture(image)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return decode(bytes(image))
    if isinstance(image, (str, Path)):
        return decode(read_file(image))
    raise InputError(f"a {type(image).__name__} is not an image; give a path, bytes, a PIL image or an array")


def read_file(path: str | Path) -> bytes:
    """The bytes of an image file. A pipe or a device is refused, because reading it might never end.

    Raises:
        OSError: if there is no regular file that can be read.
        SampleError: too_large, if it has more than 1 GiB.
    """
    found = Path(path).stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise OSError(f"{path} is not a regular file")
    if found.st_size > _MOST_FILE_BYTES:
        raise SampleError(Reason.TOO_LARGE, f"the file has {found.st_size >> 20} MiB; at most 1024 MiB are read")
    return Path(path).read_bytes()


def _of_picture(image: Image.Image) -> np.ndarray:
    data = _bytes_behind(image)
    if data is not None:
        return decode(data)
    if not image.width or not image.height:
        raise InputError(f"the image has {image.width} × {image.height} pixels; give one with pixels")
    with one_error():
        image.load()
        return to_rgb(image, orientation_of_image(image))


def _bytes_behind(image: Image.Image) -> bytes | None:
    """The file that a PIL image was opened from, if nothing of it was read, chosen or changed yet."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile or image.tell() or image.fp is None:
        return None
    if getattr(image, "decoderconfig", ()):  # `draft` has chosen a smaller size
        return None
    try:
        before = image.fp.tell()
        image.fp.seek(0)
        data = image.fp.read()
        image.fp.seek(before)
    except (OSError, ValueError):  # closed, or cannot go back
        return None
    return data


def _of_array(array: np.ndarray) -> np.ndarray:
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    is_float = np.issubdtype(array.dtype, np.floating)
    if channels not in _MODES or not array.size or not (is_float or array.dtype in (np.uint8, np.uint16, np.bool_)):
        raise InputError(
            f"the image is an array of {array.dtype} {array.shape}; give height × width, or height × width × 1 to 4 "
            "channels, of uint8, bool, uint16, or float from 0 to 1"
        )
    values = array[..., 0] if array.ndim == 3 and channels == 1 else array
    if array.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    elif array.dtype == np.uint16 and channels > 1:
        values = (values >> 8).astype(np.uint8)  # as PNG's decoder does with 16 bits and several channels
    elif array.dtype != np.uint8:
        values = grey_scale("F" if is_float else "I;16", [values])(values)
    return to_rgb(Image.fromarray(np.ascontiguousarray(values), _MODES[channels]), 1)

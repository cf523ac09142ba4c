"""`.npy` files without numpy's own reader, which evaluates the header of a damaged file as Python.

The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ...datasets.errors import InputError
from ...datasets.files import open_regular, refuse_unless_damaged
from .records import REMEDY, check_file

_MAGIC = b"\x93NUMPY"
_ITEM = r"\s*'(?:descr|fortran_order|shape)'\s*:\s*(?:'[<>|=]?[a-z]\d+'|True|False|\([\d,\s]*\))\s*"
_HEADER = re.compile(rf"\{{{_ITEM},{_ITEM},{_ITEM},?\s*\}}\s*")
_DTYPE = re.compile(r"'descr'\s*:\s*'([<>|=]?[fiu]\d+)'")
_ORDER = re.compile(r"'fortran_order'\s*:\s*(True|False)")
_SHAPE = re.compile(r"'shape'\s*:\s*\(([\d,\s]*)\)")
_MOST_HEADER = 4096  # bytes; numpy writes 118
_MOST_DIGITS = 18  # of a dimension: more than any file has


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The header of a `.npy` file; `offset` is where the values begin, in bytes."""

    dtype: np.dtype
    shape: tuple[int, ...]
    is_fortran: bool
    offset: int

    @property
    def num_bytes(self) -> int:
        """The size of the whole file."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes]) -> Header:
    """Reads the header of an array of numbers; the position is behind it afterwards.

    Raises:
        ValueError: if it is not one.
    """
    start = file.read(len(_MAGIC) + 2)
    if len(start) < len(_MAGIC) + 2 or not start.startswith(_MAGIC) or start[-2] not in (1, 2, 3):
        raise ValueError("it does not begin as an .npy file")
    kind = struct.Struct("<H" if start[-2] == 1 else "<I")
    given = file.read(kind.size)
    length = kind.unpack(given)[0] if len(given) == kind.size else _MOST_HEADER + 1
    if length > _MOST_HEADER:
        raise ValueError("the header of the .npy file is too long")
    text = file.read(length).decode("latin-1")
    dtype, order, shape = (pattern.search(text) for pattern in (_DTYPE, _ORDER, _SHAPE))
    if len(text) < length or not (_HEADER.fullmatch(text) and dtype and order and shape):
        raise ValueError("the header of the .npy file is not that of an array of numbers")
    sizes = [size.strip() for size in shape[1].split(",") if size.strip()]
    if not all(size.isdecimal() and len(size) <= _MOST_DIGITS for size in sizes):
        raise ValueError("the header of the .npy file has no shape")
    try:
        kind_of_values = np.dtype(dtype[1])
    except TypeError as error:
        raise ValueError(f"the header of the .npy file names the type {dtype[1]}") from error
    return Header(dtype=kind_of_values, shape=tuple(map(int, sizes)), is_fortran=order[1] == "True", offset=file.tell())


def read_array(file: IO[bytes]) -> np.ndarray:
    """Reads an array of numbers from a file that holds nothing else.

    Raises:
        ValueError: if the file is not one.
    """
    header, data = read_header(file), file.read()
    if header.offset + len(data) != header.num_bytes:
        raise ValueError(f"it has {header.offset + len(data)} bytes instead of {header.num_bytes}")
    array = np.frombuffer(data, header.dtype).reshape(header.shape, order="F" if header.is_fortran else "C")
    return array.copy()


def map_part(root: Path, number: int, path: Path, *, is_checked: bool = False) -> np.ndarray:
    """The array in a file of a part, memory-mapped, copy-on-write.

    Args:
        root: the folder of the gallery, or of one of its spaces.
        number: the part's number.
        path: the file.
        is_checked: whether the file has been compared with its checksum before.

    Raises:
        InputError: if the file is missing or damaged.
    """
    if not is_checked:
        check_file(root, number, path)
    try:
        return map_array(path)
    except (OSError, ValueError) as error:
        refuse_unless_damaged(error, path)
        raise InputError(f"{path} is damaged ({error}); {REMEDY}") from error


def map_array(path: Path) -> np.ndarray:
    """An array of numbers in memory-mapped form, copy-on-write.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not an array of numbers.
    """
    with open_regular(path) as file:
        header = read_header(file)
        size = file.seek(0, 2)
        if size != header.num_bytes:
            raise ValueError(f"it has {size} bytes instead of {header.num_bytes}")
        order = "F" if header.is_fortran else "C"
        if size == header.offset:
            return np.zeros(header.shape, header.dtype, order)
        return np.memmap(file, header.dtype, "c", header.offset, header.shape, order)

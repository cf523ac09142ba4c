"""Vectors that other tools computed → a gallery's files of float16 unit vectors.

Shapes: N rows of a part, D dimension.
"""

from __future__ import annotations

import os
from pathlib import Path
from tokenize import TokenError
from typing import Literal

import numpy as np

from ...datasets.errors import InputError, first_line
from ...datasets.files import refuse_unless_damaged, replacing

# Rows that are checked or converted at a time.
_BLOCK = 65_536
# float16 keeps the length of a unit vector to about a thousandth.
_UNIT_TOLERANCE = 2e-3


def open_vectors(path: Path) -> np.ndarray:
    """The vectors in a file, mapped into memory: `array_ND` of integers or floats, if it is one of vectors.

    Raises:
        InputError: if it is no `.npy` file of numbers.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TokenError) as error:
        refuse_unless_damaged(error, path)
        raise InputError(f"{path} is not an .npy file of numbers: {first_line(error)}") from error
    # bfloat16, which numpy does not know, is loaded as bytes.
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path} holds values of the type {array.dtype}; save them as float32 or float16")
    return array


def bring(source: Path, target: Path, kept_N: np.ndarray) -> Literal["linked", "converted"]:
    """Links a file of float16 unit vectors, converts the rows to keep of any other file; returns which."""
    array = open_vectors(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if array.dtype == np.float16 and array.flags.c_contiguous and kept_N.all() and _is_unit(array):
        try:
            os.link(source, target)
        except OSError:  # another file system
            target.symlink_to(source.resolve())
        return "linked"
    _convert(array, target, kept_N)
    return "converted"


def _is_unit(array_ND: np.ndarray) -> bool:
    for start in range(0, len(array_ND), _BLOCK):
        lengths = np.linalg.norm(array_ND[start : start + _BLOCK].astype(np.float32), axis=1)
        if not (np.abs(lengths - 1) < _UNIT_TOLERANCE).all():  # also false for NaN
            return False
    return True


def usable_rows(array_ND: np.ndarray) -> np.ndarray:
    """Which rows have a direction: finite values that are not all 0. `N` bool."""
    blocks = (array_ND[start : start + _BLOCK] for start in range(0, len(array_ND), _BLOCK))
    return np.concatenate([np.zeros(0, bool), *(np.isfinite(b).all(axis=1) & (b != 0).any(axis=1) for b in blocks)])


def _convert(array_ND: np.ndarray, target: Path, kept_N: np.ndarray) -> None:
    """Writes the rows to keep as float16 of unit length, block by block; zeros for rows without a direction."""
    # Not through a memory map: on a full disk, a write to that kills the process.
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False}
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (int(kept_N.sum()), array_ND.shape[1])})
        for start in range(0, len(array_ND), _BLOCK):
            block = array_ND[start : start + _BLOCK][kept_N[start : start + _BLOCK]]
            file.write(np.ascontiguousarray(_unit(block), np.float16).tobytes())


def _unit(emb_ND: np.ndarray) -> np.ndarray:
    """Vectors of length 1, float32; zeros for those without a direction.

    In float64 and divided by the largest value first, because squares of 1e200 and of 1e-200 have no float64.
    """
    emb_ND = emb_ND.astype(np.float64)
    is_usable_N = usable_rows(emb_ND)
    emb_ND[~is_usable_N] = 1
    emb_ND /= np.abs(emb_ND).max(axis=1, keepdims=True)
    emb_ND /= np.linalg.norm(emb_ND, axis=1, keepdims=True)
    emb_ND[~is_usable_N] = 0
    return emb_ND.astype(np.float32)

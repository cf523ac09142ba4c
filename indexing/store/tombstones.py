"""`deleted.npy`: the rows of a gallery that are deleted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...datasets.checksums import damage, open_checked
from ...datasets.errors import InputError
from ...datasets.files import refuse_unless_damaged
from .layout import DELETED
from .npy import read_array

_REMEDY = "restore it from a copy, then run diantu status --accept"


def read_deleted(root: Path) -> np.ndarray:
    """The gallery's deleted rows: int64 row ids, ascending.

    A deletion may know of rows that were committed after a manifest was read, so there may be ids beyond its rows.

    Raises:
        InputError: if the file is damaged.
    """
    path = root / DELETED
    try:
        with open_checked(root, DELETED) as file:
            rows_N = read_array(file)
    except FileNotFoundError:
        return np.zeros(0, np.int64)
    except (OSError, ValueError) as error:
        refuse_unless_damaged(error, path)
        raise InputError(f"{damage(path, error)}; {_REMEDY}") from error
    if rows_N.ndim != 1 or rows_N.dtype != np.int64 or (np.diff(rows_N, prepend=-1) < 1).any():
        raise InputError(f"{path} is damaged (it does not hold ascending row ids); {_REMEDY}")
    return rows_N

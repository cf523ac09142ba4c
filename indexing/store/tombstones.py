"""`deleted.npy`: the rows of a gallery that are deleted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...datasets.errors import InputError
from ...datasets.files import refuse_unless_damaged
from .layout import DELETED

_REMEDY = "restore it from a copy; without the file no row counts as deleted"


def read_deleted(root: Path) -> np.ndarray:
    """The gallery's deleted rows: int64 row ids, ascending.

    A deletion may know of rows that were committed after a manifest was read, so there may be ids beyond its rows.

    Raises:
        InputError: if the file is damaged.
    """
    path = root / DELETED
    try:
        with path.open("rb") as file:
            rows_N = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        return np.zeros(0, np.int64)
    except (OSError, ValueError, EOFError) as error:
        refuse_unless_damaged(error, path)
        raise InputError(f"{path} cannot be read ({error}); {_REMEDY}") from error
    if rows_N.ndim != 1 or rows_N.dtype != np.int64 or (np.diff(rows_N, prepend=-1) < 1).any():
        raise InputError(f"{path} is damaged (it does not hold ascending row ids); {_REMEDY}")
    return rows_N

"""`duplicates.parquet`: which rows of a gallery are near-duplicates of which. `upkeep.dedup` finds them.

The files of a part never change after its commit, so this column of the metadata has a file of its own. It holds one
line per duplicate. A row that is not in it represents its group, or has no duplicates.

Shapes: N given rows, M duplicates.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.checksums import SMALL, DamagedError, damage, open_checked, recording
from ...datasets.errors import InputError
from ...datasets.files import refuse_unless_damaged
from .layout import DUPLICATES as NAME

COLUMNS = pa.schema(
    [
        ("row", pa.int64()),
        ("duplicate_of", pa.int64()),  # the row of the representative
        ("score", pa.float32()),  # with the representative
        ("hash_distance", pa.int8()),  # to it; null where one of them has no hash
    ]
)
_SETTINGS = b"diantu"


class Duplicates:
    """The near-duplicates of a gallery, as one run found them. Opening reads no rows; a later run does not change it.

    Attributes:
        threshold: the score from which two rows can be duplicates.
        max_hash_distance: the number of bits in which their perceptual hashes may differ.
        num_rows: rows that the gallery had at that time; later rows were not examined.
        num_deleted: those of them that were deleted, and left out.
        num_cut: images with more neighbours than were examined; see `dedup.find_duplicates`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / NAME
        self._loading = threading.Lock()
        self._loaded: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        try:
            opened = open_checked(root, NAME, most=SMALL)  # kept open, because a later run replaces the file
            self._file = pq.ParquetFile(opened, page_checksum_verification=True)
            settings = json.loads((self._file.schema_arrow.metadata or {})[_SETTINGS])
            self.threshold, self.max_hash_distance = settings["threshold"], settings["max_hash_distance"]
            self.num_rows, self.num_deleted = settings["num_rows"], settings["num_deleted"]
            self.num_cut = settings["num_cut"]
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            refuse_unless_damaged(error, self._path)
            raise self._damaged(error) from error

    def __len__(self) -> int:
        return self._file.metadata.num_rows

    @property
    def num_groups(self) -> int:
        """Groups of two rows or more."""
        return len(np.unique(self._read()[1]))

    def representatives(self, rows_N: np.ndarray) -> np.ndarray:
        """The representative of each row's group, int64; a row that is not a duplicate represents itself."""
        rows_M, representatives_M, _ = self._read()
        if not len(rows_M):
            return np.array(rows_N, np.int64)
        places_N = np.minimum(np.searchsorted(rows_M, rows_N), len(rows_M) - 1)
        return np.where(rows_M[places_N] == rows_N, representatives_M[places_N], rows_N)

    def num_others(self, rows_N: np.ndarray) -> np.ndarray:
        """The number of other rows in the group of each row, int64; 0 for a row without duplicates."""
        sorted_M = self._read()[2]
        wanted_N = self.representatives(rows_N)
        return np.searchsorted(sorted_M, wanted_N, "right") - np.searchsorted(sorted_M, wanted_N, "left")

    def column(self, first: int, count: int) -> pa.Array:
        """`duplicate_of` of `count` rows from `first` on, int64; null where a row is not a duplicate."""
        rows_N = np.arange(first, first + count)
        representatives_N = self.representatives(rows_N)
        return pa.array(representatives_N, pa.int64(), mask=representatives_N == rows_N)

    def largest(self, count: int) -> list[np.ndarray]:
        """The rows of the largest groups, largest first: of each the representative, then its duplicates."""
        rows_M, representatives_M, _ = self._read()
        groups, sizes = np.unique(representatives_M, return_counts=True)
        chosen = groups[np.argsort(-sizes, kind="stable")[:count]]
        return [np.concatenate([[group], rows_M[representatives_M == group]]) for group in chosen]

    def _read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The duplicates in ascending order, their representatives, and the representatives sorted."""
        with self._loading:
            if self._loaded is None:
                try:
                    table = self._file.read(columns=["row", "duplicate_of"])
                    rows_M, representatives_M = (column.to_numpy() for column in table.columns)
                    self._check(rows_M, representatives_M)
                except (OSError, pa.ArrowException, TypeError, ValueError) as error:
                    refuse_unless_damaged(error, self._path)
                    raise self._damaged(error) from error
                self._loaded = rows_M, representatives_M, np.sort(representatives_M)
            return self._loaded

    def _check(self, rows_M: np.ndarray, representatives_M: np.ndarray) -> None:
        """Refuses values that no run has written."""
        is_row = all(((some_M >= 0) & (some_M < self.num_rows)).all() for some_M in (rows_M, representatives_M))
        if not is_row or (np.diff(rows_M) < 1).any():
            raise DamagedError("it does not hold ascending rows of the gallery")

    def _damaged(self, error: Exception) -> InputError:
        return InputError(f"{damage(self._path, error)}; write it again with: diantu dedup")


def read_duplicates(root: Path) -> Duplicates | None:
    """A gallery's near-duplicates, or None where `diantu dedup` has never run.

    Raises:
        InputError: if their file is damaged.
    """
    try:
        return Duplicates(root)
    except FileNotFoundError:
        return None


def write_duplicates(root: Path, table: pa.Table, settings: dict[str, Any]) -> Duplicates:
    """Replaces the file by a table of `COLUMNS` in ascending order of rows. Only while the job lock is held."""
    described = COLUMNS.with_metadata({_SETTINGS: json.dumps(settings)})
    with recording(root, NAME) as temporary:
        pq.write_table(table.cast(described), temporary, compression="zstd", write_page_checksum=True)
    return Duplicates(root)

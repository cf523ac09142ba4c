"""Row ids → rows of metadata, reading only the row groups that they lie in."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..datasets import InputError
from ..indexing.duplicates import Duplicates
from ..indexing.manifest import Manifest
from ..indexing.parts import REMEDY, metadata_path

_OPEN_FILES = 64


class Metadata:
    """The metadata of all parts. Opening costs nothing; memory does not grow with the gallery."""

    def __init__(self, root: Path, manifest: Manifest, duplicates: Duplicates | None = None) -> None:
        self._root = root
        self._manifest = manifest
        self._duplicates = duplicates
        self._footer = lru_cache(maxsize=_OPEN_FILES)(self._read_footer)

    def rows(self, rows_N: np.ndarray) -> list[dict[str, Any]]:
        """The metadata of some rows, in the order asked for; with `duplicate_of` where near-duplicates are known.

        Raises:
            IndexError: if a row is not one of the gallery's.
        """
        found: dict[int, dict[str, Any]] = {}
        positions, local = self._manifest.locate(rows_N)
        for position in np.unique(positions):
            here = positions == position
            records = self._read(int(position), local[here])
            found.update(zip(rows_N[here].tolist(), records, strict=True))
        if self._duplicates is not None:
            for row, representative in zip(rows_N.tolist(), self._duplicates.representatives(rows_N), strict=True):
                found[row]["duplicate_of"] = int(representative) if representative != row else None
        return [found[row] for row in rows_N.tolist()]

    def _read(self, position: int, local: np.ndarray) -> list[dict[str, Any]]:
        """Rows of one part."""
        number = self._manifest.parts[position][0]
        footer = self._footer(number)
        ends = np.cumsum([footer.row_group(i).num_rows for i in range(footer.num_row_groups)])
        groups = np.unique(np.searchsorted(ends, local, side="right"))
        # The rows of the chosen groups stand one behind the other in the table that is read.
        starts = np.concatenate([[0], ends])[groups]
        within = np.concatenate([np.arange(start, end) for start, end in zip(starts, ends[groups], strict=True)])
        path = metadata_path(self._root, number)
        try:
            with pq.ParquetFile(path, metadata=footer) as file:
                table = file.read_row_groups(groups.tolist())
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path} is damaged ({error}); {REMEDY}") from error
        return table.take(np.searchsorted(within, local)).to_pylist()

    def _read_footer(self, number: int) -> pq.FileMetaData:
        path = metadata_path(self._root, number)
        try:
            return pq.read_metadata(path)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path} is damaged ({error}); {REMEDY}") from error

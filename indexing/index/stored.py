"""`index.faiss`: the FAISS index of a gallery, held open so that a job may replace it.

A job renames `index.faiss` and then `index.json`, so a reader may find a new index beside an old report. Such a pair is
not used.
"""

from __future__ import annotations

import os
import struct
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ...datasets.errors import InputError
from ...datasets.files import refuse_unless_damaged
from .report import REMEDY, IndexReport

# FAISS begins every index of vectors with four letters for its class, the dimension and the number of rows.
_HEADER = struct.Struct("<4siq")


@dataclass(frozen=True)
class StoredIndex:
    """An open `index.faiss`, which can still be read after a job has replaced it.

    Attributes:
        path: its path when it was opened.
        num_rows: rows that it holds.
        num_bytes: its size.
    """

    path: Path
    num_rows: int
    num_bytes: int
    _file: IO[bytes]

    @classmethod
    def open(cls, folder: Path) -> StoredIndex:
        """Opens the file in an index's folder in constant time: only its first bytes are read.

        Raises:
            InputError: if it is missing or not a FAISS index.
        """
        path = folder / "index.faiss"
        try:
            file = path.open("rb")
            _, _, num_rows = _HEADER.unpack(file.read(_HEADER.size))
        except (OSError, struct.error) as error:
            refuse_unless_damaged(error, path)
            raise _damaged(path) from error
        stored = cls(path, num_rows, os.fstat(file.fileno()).st_size, file)
        weakref.finalize(stored, file.close)
        return stored

    def belongs_to(self, report: IndexReport) -> bool:
        """Whether it is the file that an `index.json` describes."""
        return (self.num_rows, self.num_bytes) == (report.num_rows, report.num_bytes)

    def load(self, *, memory_mapped: bool = False) -> Any:
        """Reads the FAISS index; memory-mapped where FAISS can do that (not for fast-scan codes).

        Raises:
            InputError: if it is damaged, or has another metric.
        """
        import faiss

        try:
            # A memory-mapped index aborts the process on `add`, so only searches may open it in this way.
            flags = faiss.IO_FLAG_MMAP_IFC if memory_mapped else 0
            index = faiss.read_index(f"/dev/fd/{self._file.fileno()}", flags)
        except RuntimeError as error:
            raise _damaged(self.path) from error
        if index.metric_type != faiss.METRIC_INNER_PRODUCT or index.ntotal != self.num_rows:
            raise _damaged(self.path)
        return index


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is missing or damaged; {REMEDY}")

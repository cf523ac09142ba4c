"""The two files of an index: `index.faiss`, and `index.json` that says what it is and what it delivers.

A job renames one and then the other, so a reader may find a new file beside an old report: such a pair does not count.
"""

from __future__ import annotations

import json
import os
import struct
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ...datasets.errors import InputError
from ..store.manifest import Manifest

AGAIN = "build the index again with: diantu index"
# FAISS begins every index of vectors with four letters for its class, the dimension and the number of rows.
_HEADER = struct.Struct("<4siq")


def index_folder(root: Path, manifest: Manifest) -> Path:
    """Where the index of a gallery's main space lies."""
    return root / "index" / manifest.spec.slug


@dataclass(frozen=True)
class StoredIndex:
    """An `index.faiss` that is held open, so that it can be read later even if a job has replaced it by then.

    Attributes:
        path: where it lay when it was opened.
        num_rows: how many it holds.
        num_bytes: its size.
    """

    path: Path
    num_rows: int
    num_bytes: int
    _file: IO[bytes]

    @classmethod
    def open(cls, folder: Path) -> StoredIndex:
        """Opens the file of an index's folder in constant time: only its first bytes are read.

        Raises:
            InputError: if it is missing or no index.
        """
        path = folder / "index.faiss"
        try:
            file = path.open("rb")
            _, _, num_rows = _HEADER.unpack(file.read(_HEADER.size))
        except (OSError, struct.error) as error:
            raise _damaged(path) from error
        stored = cls(path, num_rows, os.fstat(file.fileno()).st_size, file)
        weakref.finalize(stored, file.close)
        return stored

    def belongs_to(self, report: Mapping[str, Any]) -> bool:
        """Whether it is the file that an `index.json` describes."""
        return (self.num_rows, self.num_bytes) == (report["num_rows"], report["bytes"])

    def load(self, *, memory_mapped: bool = False) -> Any:
        """Reads the FAISS index; memory-mapped where FAISS can do that (not for fast-scan codes).

        Raises:
            InputError: if it is damaged, or of another metric.
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


def read_report(root: Path, manifest: Manifest) -> Mapping[str, Any] | None:
    """The `index.json` of a finished index of this gallery, or None where there is no index.

    Raises:
        InputError: if it is damaged, or was written for another gallery.
    """
    path = index_folder(root, manifest) / "index.json"
    if not path.exists():
        return None
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        num_rows, fingerprint, _ = report["num_rows"], report["encoder_fingerprint"], report["spec"]["factory"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); {AGAIN}") from error
    if fingerprint != manifest.spec.fingerprint or num_rows > manifest.num_rows:
        raise InputError(f"the index in {path.parent} was built for another gallery; {AGAIN}")
    return report


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is missing or damaged; {AGAIN}")

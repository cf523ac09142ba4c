"""`index.faiss` or `index.graph`: the index of a gallery, held open so that a job may replace it.

A job renames that file and then `index.json`, so a reader may find a new index beside an old report. Such a pair is
not used. `index.json` holds checksums: of the first bytes, which opening compares; of each block, which is compared
before FAISS or SVS gets it, because a damaged index can crash the process or give wrong answers; and of the whole file.
"""

from __future__ import annotations

import contextlib
import os
import struct
import weakref
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from ...datasets.checksums import Checksum, DamagedError
from ...datasets.errors import InputError
from ...datasets.files import open_regular, refuse_unless_damaged, writing
from ..store.vectors import Vectors
from .blocks import Blocks
from .report import REMEDY, IndexReport, IndexSpec
from .vamana import Vamana
from .vamana_files import ROWS, loaded, unpack, write_rows

# FAISS begins every index of vectors with four letters for its class, the dimension and the number of rows.
_HEADER = struct.Struct("<4siq")
# Bytes that opening compares: a millisecond, and in an index with lists they hold some of the centres.
HEAD = 1 << 20


@dataclass(frozen=True)
class StoredIndex:
    """An open index, which can still be read after a job has replaced it.

    Attributes:
        path: its path when it was opened.
        num_rows: rows that it holds; None where its first bytes do not say it.
        num_bytes: its size.
        head_sha256: the SHA-256 of its first `HEAD` bytes.
    """

    path: Path
    num_rows: int | None
    num_bytes: int
    head_sha256: str
    _file: IO[bytes]

    @classmethod
    def open(cls, folder: Path, spec: IndexSpec) -> StoredIndex:
        """Opens the file of an index in its folder in constant time: only its first bytes are read.

        Raises:
            InputError: if it is missing or not an index of FAISS, where it should be one.
        """
        path, num_rows = folder / spec.file_name, None
        try:
            file = open_regular(path)
            if not spec.is_vamana:
                _, _, num_rows = _HEADER.unpack(file.read(_HEADER.size))
        except (OSError, struct.error) as error:
            refuse_unless_damaged(error, path)
            raise _damaged(path) from error
        head = Checksum.of_open(file, HEAD)
        stored = cls(path, num_rows, os.fstat(file.fileno()).st_size, head.sha256, file)
        weakref.finalize(stored, file.close)
        return stored

    def belongs_to(self, report: IndexReport) -> bool:
        """Whether it is the file that an `index.json` describes."""
        is_head = report.head_sha256 in (None, self.head_sha256)
        return is_head and self.num_rows in (None, report.num_rows) and self.num_bytes == report.num_bytes

    def load(self, report: IndexReport, vectors: Vectors, *, memory_mapped: bool = False) -> Any:
        """Reads the index: of FAISS, memory-mapped where FAISS can search it so (not fast-scan codes), or `Vamana`.

        Beside an index of FAISS, this takes less than 20 MB of memory while it runs.

        Args:
            report: the `index.json` that describes it.
            vectors: the gallery's rows, which a graph of SVS takes into memory.
            memory_mapped: for searches only.

        Raises:
            InputError: if it is damaged, or has another metric.
            FileError: if the system cannot read it.
        """
        if report.spec.is_vamana:
            return self._load_graph(report, vectors)
        import faiss

        try:
            if memory_mapped and report.spec.is_mappable:
                self._compare(report)
                # Such an index aborts the process on `add`, so only searches may open it in this way.
                index = faiss.read_index(f"/dev/fd/{self._file.fileno()}", faiss.IO_FLAG_MMAP_IFC)
            else:
                with contextlib.closing(self._compared(report)) as blocks:
                    index = _read(blocks, report.blocks.size if report.blocks else HEAD)
        except (DamagedError, RuntimeError, OSError) as error:
            refuse_unless_damaged(error, self.path)
            raise _damaged(self.path) from error
        if index.metric_type != faiss.METRIC_INNER_PRODUCT or index.ntotal != self.num_rows:
            raise _damaged(self.path)
        return index

    def unpack(self, report: IndexReport, folder: Path) -> None:
        """Writes the files of a graph of SVS to a folder.

        Raises:
            InputError: if it is damaged.
        """
        try:
            self._compare(report)
            unpack(self._file, folder, report.num_rows)
        except (DamagedError, ValueError) as error:
            raise _damaged(self.path) from error

    def _load_graph(self, report: IndexReport, vectors: Vectors) -> Vamana:
        if not report.num_rows:
            return Vamana(None, 0)
        with TemporaryDirectory(prefix="diantu-") as name, writing(folder := Path(name)):
            self.unpack(report, folder)
            write_rows(vectors, folder / ROWS, 0, report.num_rows)
            return Vamana(loaded(folder, vectors.dim), report.num_rows)

    def _compare(self, report: IndexReport) -> None:
        """Compares all bytes of the file with its checksums."""
        with contextlib.closing(self._compared(report)) as blocks:
            deque(blocks, maxlen=0)

    def _compared(self, report: IndexReport) -> Generator[bytes]:
        """The bytes of the file, block by block, each of them compared with a checksum."""
        if report.blocks is not None:
            yield from report.blocks.read(self._file)
            return
        if report.sha256 is not None and Checksum.of_open(self._file).sha256 != report.sha256:
            raise DamagedError("has changed since it was written")
        self._file.seek(0)
        while block := self._file.read(HEAD):
            yield block


def _read(blocks: Iterator[bytes], size: int) -> Any:
    """The FAISS index in some blocks of at most `size` bytes."""
    import faiss

    readers: Any = faiss  # its stubs lack them
    source = readers.PyCallbackIOReader(lambda _: next(blocks, b""), size)
    return readers.read_index(readers.BufferedIOReader(source, size))


def described(report: IndexReport, path: Path) -> IndexReport:
    """A report with size and checksums of the index that was written to a path."""
    with open_regular(path) as file:
        whole, head, blocks = Checksum.of_open(file), Checksum.of_open(file, HEAD), Blocks.of_open(file)
    return replace(report, num_bytes=whole.bytes, sha256=whole.sha256, head_sha256=head.sha256, blocks=blocks)


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is missing or damaged; {REMEDY}")

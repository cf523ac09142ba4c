"""Writes and reads `texts_00000.arrow`: texts that seldom repeat, which a condition reads where they are in the file.

The file is mapped into memory, and nothing is decoded or copied. Each record batch has checksums of its columns.
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from ....datasets.errors import InputError, first_line
from ....datasets.files import open_regular, refuse_unless_damaged

# The checksums in the metadata of a record batch: JSON, the XXH3 of each column as 16 hex digits.
_CHECKSUMS = b"xxh3"
_SIZE = struct.Struct("<q")


class TextWriter:
    """A new file of columns of text."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._schema = pa.schema([(name, pa.string()) for name in names])
        self._writer = pa.ipc.new_file(path, self._schema)

    def write(self, table: pa.Table) -> None:
        """Writes some rows of at least these columns, which become a record batch."""
        if not self._schema.names:
            return
        for batch in table.select(self._schema.names).to_batches():
            # As it will be read: an array in memory may be a part of larger buffers.
            exact = pa.ipc.read_record_batch(batch.serialize(), self._schema)
            digests = json.dumps([_digest(*each) for each in zip(exact.schema.names, exact.columns, strict=True)])
            self._writer.write_batch(exact, custom_metadata={_CHECKSUMS: digests})

    def close(self) -> None:
        """Completes the file."""
        self._writer.close()


class TextFile:
    """An open file of columns of text. Its arrays stay readable when it is closed or replaced."""

    def __init__(self, path: Path, num_bytes: int) -> None:
        """Maps the file, and reads its end.

        Raises:
            OSError: if it cannot be read.
            ValueError: if it is damaged.
        """
        with open_regular(path) as file:
            size = file.seek(0, 2)
            if size != num_bytes:
                raise ValueError(f"it has {size} bytes, {num_bytes} were written")
            self._reader = pa.ipc.open_file(pa.py_buffer(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)))

    @property
    def num_batches(self) -> int:
        """Record batches, each of some ten thousand rows."""
        return self._reader.num_record_batches

    def column(self, name: str, batches: Iterable[int], num_rows: int) -> pa.ChunkedArray:
        """A column of some record batches, which have so many rows, compared with its checksums.

        Raises:
            ValueError: if it is damaged, or there is no such column.
        """
        column = pa.chunked_array([self._array(name, batch) for batch in batches], pa.string())
        if len(column) != num_rows:
            raise ValueError(f"it has {len(column)} rows instead of {num_rows}")
        return column

    def _array(self, name: str, batch: int) -> pa.Array:
        found = self._reader.get_batch_with_custom_metadata(batch)
        position = self._reader.schema.names.index(name)
        array = found.batch.column(position)
        array.validate()  # sizes only; the file of another gallery has matching checksums, whatever it holds
        if not _are_ascending(array):
            raise ValueError("a text ends before it begins")
        digests = json.loads(dict(found.custom_metadata or {}).get(_CHECKSUMS, b"[]"))
        if digests[position : position + 1] != [_digest(name, array)]:
            raise ValueError("it has changed since it was written")
        return array


@contextmanager
def opened_texts(path: Path, num_bytes: int, remedy: str) -> Iterator[TextFile]:
    """A file of texts.

    Args:
        path: the file.
        num_bytes: its size when it was written.
        remedy: what to do about a damaged file.

    Raises:
        FileNotFoundError: if there is none.
        InputError: if it is damaged, also if that is found in the block that reads it.
    """
    try:
        yield TextFile(path, num_bytes)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        refuse_unless_damaged(error, path)
        raise InputError(f"{path} is damaged ({first_line(error)}); {remedy}") from error


def _digest(name: str, array: pa.Array) -> str:
    """The checksum of a column: its name, how many values it has and lacks, and the size and bytes of each buffer."""
    found = xxhash.xxh3_64(name.encode() + _SIZE.pack(len(array)) + _SIZE.pack(array.null_count))
    for buffer in array.buffers():
        found.update(_SIZE.pack(-1 if buffer is None else buffer.size))
        if buffer is not None:
            found.update(buffer)
    return found.hexdigest()


def _are_ascending(array: pa.Array) -> bool:
    """Whether the offsets of the texts ascend; `validate` compares the first one and the last one with the text."""
    _, buffer, _ = array.buffers()
    if buffer is None or not len(array):
        return True
    offsets = np.frombuffer(buffer, np.int32, len(array) + 1)
    return bool((offsets[1:] >= offsets[:-1]).all())

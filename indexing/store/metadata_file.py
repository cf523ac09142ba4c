"""Opens a parquet file with metadata: of a part, or of a segment of the row store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.errors import InputError, first_line
from ...datasets.files import refuse_unless_damaged
from .records import REMEDY


@contextmanager
def opened_metadata(
    path: Path, remedy: str = REMEDY, *, footer: pq.FileMetaData | None = None, memory_map: bool = False
) -> Iterator[pq.ParquetFile]:
    """A file of metadata. Each page is compared with its checksum when it is read.

    Args:
        path: the file.
        remedy: what to do about a damaged file.
        footer: its footer, where that was read before.
        memory_map: for a few rows of the file.

    Raises:
        InputError: if it is damaged, also if that is found in the block that reads it.
    """
    try:
        with pq.ParquetFile(path, metadata=footer, memory_map=memory_map, page_checksum_verification=True) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        refuse_unless_damaged(error, path)
        raise InputError(f"{path} is damaged ({first_line(error)}); {remedy}") from error

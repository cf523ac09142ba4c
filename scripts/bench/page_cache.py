"""What the page cache holds of files: all of them, or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_BLOCK = 1 << 20


def read_all(files: Iterable[Path]) -> None:
    """Reads files from beginning to end, so that they are in memory as far as there is room."""
    block = bytearray(_BLOCK)
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(block):
                pass


def drop(files: Iterable[Path]) -> None:
    """Drops files from memory, so that the next one who reads them waits for the disk."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)

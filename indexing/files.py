"""Files that are whole or absent: temporary name, fsync, rename; and one writer at a time in a gallery."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ..datasets.types import InputError

# A killed job leaves at most files of this ending behind; the next job removes them before it starts.
TEMPORARY = ".tmp"
# What a job holds from its beginning to its end, and what a deletion holds for a moment, also while a job runs.
JOB_LOCK = "gallery.lock"
DELETION_LOCK = "deleted.lock"
# The tombstones are written under a lock of their own, so their temporary file is no job's to remove.
DELETED = "deleted.npy"
_POLL_SECONDS = 0.02


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write to; when all is written, that file takes the place of `path` as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        yield temporary
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a file so that it holds all of `data` or does not change, whenever the machine stops."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporary(root: Path) -> None:
    """Removes what a killed job left half written. Only under `exclusive`, and only in a folder known as a gallery."""
    for path in sorted(root.rglob(f"*{TEMPORARY}")):
        if path != root / f"{DELETED}{TEMPORARY}":
            path.unlink()


def write_json(path: Path, value: Any) -> None:
    """Writes JSON that people can read and `diff` can compare."""
    write_atomic(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def sha256(data: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Hex digest of a file of any size."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def exclusive(root: Path, name: str = JOB_LOCK, *, patience: float = 0.0) -> Iterator[None]:
    """Holds one of the gallery's locks; the kernel releases it however the process ends.

    Args:
        root: the gallery's folder.
        name: which lock, by its file.
        patience: seconds to wait while another one holds it.

    Raises:
        InputError: if another one holds it for longer.
    """
    root.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    with (root / name).open("w") as file:
        while not _try_lock(file, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise InputError(f"another job is writing to {root}; wait for it, or stop it")
            time.sleep(_POLL_SECONDS)
        yield


def is_locked(root: Path) -> bool:
    """Whether a job is writing to the gallery now."""
    path = root / JOB_LOCK
    if not path.exists():
        return False
    with path.open() as file:
        return not _try_lock(file, fcntl.LOCK_SH)


def _try_lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

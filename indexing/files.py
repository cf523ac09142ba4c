"""Files that are whole or absent: temporary name, fsync, rename; and one job at a time in a gallery."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..datasets.types import InputError

# A killed job leaves at most files of this ending behind; the next job removes them before it starts.
TEMPORARY = ".tmp"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write to; when all is written, that file takes the place of `path` as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + TEMPORARY)
    yield temporary
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
    """Removes what a killed job left half written. Only under `exclusive`."""
    for path in sorted(root.rglob(f"*{TEMPORARY}")):
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
def exclusive(root: Path) -> Iterator[None]:
    """Holds the gallery's lock; the kernel releases it however the process ends.

    Raises:
        InputError: if another process holds it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / "gallery.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another job is writing to {root}; wait for it, or stop it") from error
        yield


def is_locked(root: Path) -> bool:
    """Whether a job is writing to the gallery now."""
    path = root / "gallery.lock"
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False

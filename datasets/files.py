"""Files that are whole or absent: temporary name, fsync, rename; and one writer at a time in a folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from .errors import InputError

# A killed job leaves at most files of this ending behind; the next job removes them before it starts.
TEMPORARY = ".tmp"
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


def remove_temporary(root: Path, *, but: Collection[Path] = ()) -> None:
    """Removes what a killed job left half written. Only under its lock, and only in a folder known to be its own.

    Args:
        root: the folder, searched with its subfolders.
        but: files of this kind that belong to someone else.
    """
    for path in sorted(root.rglob(f"*{TEMPORARY}")):
        if path not in but:
            path.unlink()


@contextlib.contextmanager
def exclusive(folder: Path, lock: str, *, patience: float = 0.0, what: str = "job") -> Iterator[IO[str]]:
    """Holds one of a folder's locks; the kernel releases it however the process ends.

    Args:
        folder: what is written to; it is created if it does not exist.
        lock: the lock's file, relative to the folder.
        patience: seconds to wait while another process holds it.
        what: what the holder is called in the message.

    Yields:
        The open file. A child process that inherits it keeps the lock until it ends, too.

    Raises:
        InputError: if another process holds the lock for longer.
    """
    path = folder / lock
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    with path.open("w") as file:
        while not _try_lock(file, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise InputError(f"another {what} is writing to {folder}; wait for it, or stop it")
            time.sleep(_POLL_SECONDS)
        yield file


def is_locked(folder: Path, lock: str) -> bool:
    """Whether a process holds a lock of a folder now."""
    path = folder / lock
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

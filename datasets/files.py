"""Files that are complete or absent (temporary name, fsync, rename), and locks for one writer per folder."""

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

# A killed job leaves only files with this ending behind; the next job removes them before it starts.
TEMPORARY = ".tmp"
_POLL_SECONDS = 0.02


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to; at the end that file replaces `path` in one step."""
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
    """Writes a file so that it holds all of `data` or stays as it was, whenever the machine stops."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def sync_folder(folder: Path) -> None:
    """Flushes a folder to disk, so that renames in it survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON, for people to read and `diff` to compare."""
    write_atomic(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def sha256(data: bytes) -> str:
    """The SHA-256 of some bytes, as a hex digest."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file of any size, as a hex digest."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def remove_temporary(root: Path, *, but: Collection[Path] = ()) -> None:
    """Removes the temporary files of a killed job.

    Call it only while holding the folder's lock, and only for a folder that holds nothing but the job's files.

    Args:
        root: the folder, searched with its subfolders.
        but: temporary files that belong to another writer.
    """
    for path in sorted(root.rglob(f"*{TEMPORARY}")):
        if path not in but:
            path.unlink()


@contextlib.contextmanager
def exclusive(folder: Path, lock: str, *, patience: float = 0.0, what: str = "job") -> Iterator[IO[str]]:
    """Holds one of a folder's locks. The kernel releases it when the process ends, for whatever reason.

    Args:
        folder: the folder that is written to; it is created if it does not exist.
        lock: the path of the lock's file, relative to the folder.
        patience: seconds to wait while another process holds it.
        what: what the message calls the holder.

    Yields:
        The open file. A child process that inherits it holds the lock too, until it ends.

    Raises:
        InputError: if another process still holds the lock after that time.
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
    """Whether a process holds a folder's lock at the moment."""
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

"""Files that are complete or absent (temporary name, fsync, rename), and locks for one writer per folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from .errors import FileError, InputError, first_line

# A killed job leaves only files with this ending behind; the next job removes them before it starts.
TEMPORARY = ".tmp"
_POLL_SECONDS = 0.02
# What to do about an error of the operating system, by its number.
_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "write to a file system that can hold files of this size",
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.EROFS: "make the file system writable",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "allow more open files",
    errno.ENOMEM: "free some memory",
}
# Errors that say something about the file itself: it is missing, or a library met impossible content.
_OF_CONTENT = (None, errno.ENOENT, errno.EINVAL)
_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_OTHERWISE = "check the path and the disk"


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns the errors of the operating system while a file is read into a `FileError`.

    `FileNotFoundError` passes, and so does an `OSError` without a number: libraries raise that for damaged content.
    """
    try:
        yield
    except OSError as error:
        refuse_unless_damaged(error, path)
        raise


def refuse_unless_damaged(error: Exception, path: Path) -> None:
    """Raises a `FileError` if the operating system is why a file could not be read; damage and absence are others'."""
    if isinstance(error, OSError) and (numbered := _numbered(error)).errno not in _OF_CONTENT:
        raise file_error(numbered, path, "read") from error


def _numbered(error: OSError) -> OSError:
    """The error with its number, which pyarrow gives as text only where a file cannot be mapped."""
    if error.errno is None:
        for number in errno.errorcode:
            if str(error).endswith(f": {os.strerror(number)}"):
                return OSError(number, os.strerror(number))
    return error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns all errors of the operating system while a file is written into a `FileError`."""
    try:
        yield
    except OSError as error:
        raise file_error(error, path, "written") from error


def file_error(error: OSError, path: str | os.PathLike[str] | None, done: str) -> FileError:
    """An error of the operating system as a sentence: the file, what cannot be done with it, the reason, a remedy.

    Args:
        error: what was raised.
        path: the file that was worked on. A file that the error names comes first, without its temporary ending.
        done: what cannot be done: `read`, `written`, `locked`, or `used` where that is not known.
    """
    # A copy names both files, the source first; a full or read-only disk is that of the other one.
    files = (error.filename2, error.filename) if error.errno in _OF_WRITING else (error.filename,)
    named = next((file for file in files if isinstance(file, str)), path)
    name = os.fspath(named).removesuffix(TEMPORARY) if named is not None else "a file"
    if path is not None and Path(name) not in Path(path).parents and Path(name).parent != Path(path).parent:
        done = "used"  # an error about another file, which may be one that is read
    reason = error.strerror or first_line(error)
    remedy = _REMEDIES.get(error.errno or 0, _OTHERWISE)
    return FileError(f"{name} cannot be {done} ({reason}); {remedy}, then run the same command again")


def open_regular(path: Path) -> IO[bytes]:
    """Opens a file to read it. A pipe or a device is refused, because opening or reading it might never end.

    Raises:
        OSError: if it cannot be opened, or is something else.
    """
    file = open(path, "rb", opener=_at_once)  # noqa: SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.ENOTSUP, "it is not a regular file", os.fspath(path))
    return file


def _at_once(path: str, flags: int) -> int:
    """Opens a pipe too without waiting for its other end."""
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        FileNotFoundError: if there is none.
        FileError: if it cannot be read.
    """
    with reading(path), open_regular(path) as file:
        return file.read()


def read_text(path: Path) -> str:
    """The content of a text file in UTF-8; see `read_bytes`."""
    return read_bytes(path).decode("utf-8")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to; at the end that file replaces `path` in one step.

    Raises:
        FileError: if the file cannot be written; `path` is then as it was, or already the new file.
    """
    temporary = _temporary(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error counts; the next job removes what stays
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextlib.contextmanager
def replacing_together(first: Path, second: Path) -> Iterator[tuple[Path, Path]]:
    """Yields temporary paths for two files that describe each other; at the end both files are replaced.

    The first one must be complete before the second one is begun. A kill between the two renames leaves only the
    second temporary file; `finish_replacing` then completes the pair.
    """
    temporaries = one, other = _temporary(first), _temporary(second)
    with writing(first):
        first.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporaries
            for temporary in temporaries:
                _sync(temporary)
            one.replace(first)
        except BaseException:
            for temporary in (other, one):  # in this order, so that the second one is never alone
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
            raise
    finish_replacing(first, second)


def finish_replacing(first: Path, second: Path) -> None:
    """Completes a pair of files whose job was killed between its renames; removes what is left of an earlier moment."""
    one, other = _temporary(first), _temporary(second)
    with writing(second):
        if left_to_replace(first, second):
            other.replace(second)
            sync_folder(second.parent)
        for temporary in (other, one):
            temporary.unlink(missing_ok=True)


def left_to_replace(first: Path, second: Path) -> Path | None:
    """The complete new second file of a pair whose job was killed between its renames; None if there is none."""
    other = _temporary(second)
    return other if other.exists() and not _temporary(first).exists() else None


def _temporary(path: Path) -> Path:
    return path.with_name(path.name + TEMPORARY)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


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
    write_atomic(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """A value as indented JSON."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def sha256(data: bytes) -> str:
    """The SHA-256 of some bytes, as a hex digest."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file of any size, as a hex digest."""
    with reading(path), open_regular(path) as file:
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
    found = [Path(folder, name) for folder, _, names in os.walk(root) for name in names if name.endswith(TEMPORARY)]
    # In descending order: of an index's files, index.json must go first, see `replacing_together`.
    for path in sorted(found, reverse=True):
        if path not in but:
            with writing(path):
                path.unlink(missing_ok=True)


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
        FileError: if the lock's file cannot be written.
    """
    path = folder / lock
    deadline = time.monotonic() + patience
    with contextlib.ExitStack() as stack:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(path, "w", opener=_at_once))
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
    with reading(path), open(path, opener=_at_once) as file:
        return not _try_lock(file, fcntl.LOCK_SH)


def _try_lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise file_error(error, file.name, "locked") from error
    return True

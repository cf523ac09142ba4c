"""Reads files after a comparison with their checksums."""

from __future__ import annotations

import time
from pathlib import Path
from typing import IO

from ..errors import InputError
from ..files import TEMPORARY, open_regular, read_bytes, reading
from .seals import unsealed
from .values import MISSING, Checksum, DamagedError, Entry

NAME, LOCK = "checksums.json", "checksums.lock"
# What a job that was killed may leave in a folder before its first own file is there.
LEFT_BEHIND = (NAME, f"{NAME}{TEMPORARY}", LOCK)
ACCEPT = "diantu status --accept"
CHECK = f"restore it from a copy, or check the other files and run {ACCEPT}"
# A file of this size is read and compared whenever it is opened: it takes about a millisecond.
SMALL = 1 << 20
# A reader may come between the replacement of a file and that of its checksum.
_PAUSES = (0.02, 0.1, 0.5)


def read_entries(root: Path) -> dict[str, Entry]:
    """What `checksums.json` of a folder says, by path; empty if there is no such file, as in earlier releases.

    Raises:
        DamagedError: if it is damaged.
    """
    try:
        values, is_sealed = unsealed(read_bytes(root / NAME))
        if not is_sealed:
            raise DamagedError("does not end with its checksum")
        return {name: Entry.from_json(entry) for name, entry in values["files"].items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"cannot be checked, because {root / NAME} is damaged ({error}); {CHECK}") from error


def listed(root: Path) -> dict[str, Entry]:
    """As `read_entries`.

    Raises:
        InputError: if `checksums.json` is damaged.
    """
    try:
        return read_entries(root)
    except DamagedError as error:
        raise InputError(f"the files of {root} {error}") from error


def open_checked(root: Path, name: str, *, most: int | None = None) -> IO[bytes]:
    """Opens a file after a comparison with its checksum. A file without one is opened as it is.

    Args:
        root: the folder with `checksums.json`.
        name: the file's path in that folder.
        most: of a larger file only the size is compared; None compares all bytes of every file.

    Raises:
        FileNotFoundError: if there is no such file, and there should be none.
        DamagedError: if the file is not the one that was written.
    """
    for pause in (*_PAUSES, None):
        entry = read_entries(root).get(name)
        try:
            with reading(root / name):
                file = open_regular(root / name)
        except FileNotFoundError:
            if entry is None or None in entry.allowed:
                raise
            reason = MISSING
        else:
            with reading(root / name):
                if entry is None or _is_allowed(file, entry, most):
                    return file
            file.close()
            reason = "has changed since it was written"
        if pause is None:
            raise DamagedError(reason)
        time.sleep(pause)
    raise AssertionError("the last pause is None")


def read_checked(root: Path, name: str) -> bytes:
    """The bytes of a file that have been compared with its checksum; raises as `open_checked` does."""
    with open_checked(root, name) as file, reading(root / name):
        return file.read()


def _is_allowed(file: IO[bytes], entry: Entry, most: int | None) -> bool:
    size = file.seek(0, 2)
    file.seek(0)
    if entry.is_prefix:
        return any(Checksum.of_open(file, allowed.bytes) == allowed for allowed in entry.allowed if allowed)
    if most is not None and size > most:
        return size in {checksum.bytes for checksum in entry.allowed if checksum}
    return Checksum.of_open(file) in entry.allowed

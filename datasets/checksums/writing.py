"""Replaces files together with their checksums, so that a kill at any moment leaves a pair that fits."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..files import TEMPORARY, exclusive, replacing, write_atomic
from .reading import LOCK, NAME, listed
from .seals import sealed
from .values import Checksum, Entry

# The lock is held while two small files are written.
_PATIENCE_SECONDS = 30.0


@contextmanager
def recording(root: Path, name: str, *, is_prefix: bool = False) -> Iterator[Path]:
    """Yields a temporary path to write to; at the end that file replaces another one, and its checksum is noted.

    Args:
        root: the folder with `checksums.json`.
        name: the file's path in that folder.
        is_prefix: whether jobs will append to the file.

    Raises:
        InputError: if `checksums.json` is damaged.
    """
    with announced(root, name, is_prefix=is_prefix) as announce, replacing(root / name) as temporary:
        yield temporary
        announce(temporary)


@contextmanager
def announced(root: Path, name: str, *, is_prefix: bool = False) -> Iterator[Callable[[Path], None]]:
    """Yields a function to call with the new file, just before that replaces the old one; see `recording`."""
    with ExitStack() as stack:
        entries: dict[str, Entry] = {}

        def announce(temporary: Path) -> None:
            now = Checksum.of_file(temporary)
            stack.enter_context(_locked(root))
            entries.update(_settled(root))
            before = entries[name].now if name in entries else _present(root / name)
            entries[name] = Entry(now=now, is_settled=False, replaces=before, is_prefix=is_prefix)
            _write(root, entries)

        yield announce
        if entries:
            entries[name] = replace(entries[name], is_settled=True, replaces=None)
            _write(root, entries)


def write_checked(root: Path, name: str, data: bytes, *, is_prefix: bool = False) -> None:
    """Replaces a file and its checksum, unless the file already has these bytes; see `recording`."""
    if _holds(root, name, data):
        return
    with recording(root, name, is_prefix=is_prefix) as temporary:
        temporary.write_bytes(data)


def write_checked_json(root: Path, name: str, value: Any) -> None:
    """Writes indented JSON, for people to read and `diff` to compare, and its checksum."""
    write_checked(root, name, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def settle(root: Path) -> None:
    """Removes what a job left in `checksums.json` that was killed while it replaced a file."""
    temporary = root / f"{NAME}{TEMPORARY}"
    is_settled = all(entry.is_settled for entry in listed(root).values())
    if is_settled and not temporary.exists():
        return
    with _locked(root):
        temporary.unlink(missing_ok=True)
        if not is_settled:
            _write(root, _settled(root))


def accept(root: Path, names: Iterable[str], *, prefixes: Collection[str] = ()) -> int:
    """Takes the present files as right: writes `checksums.json` with their checksums.

    Args:
        root: the folder.
        names: its files that jobs replace.
        prefixes: those of them to which jobs append.

    Returns:
        How many files there are.
    """
    with _locked(root):
        found = {name: _present(root / name) for name in names}
        entries = {
            name: Entry(now=checksum, is_prefix=name in prefixes) for name, checksum in found.items() if checksum
        }
        _write(root, entries)
    return len(entries)


def _holds(root: Path, name: str, data: bytes) -> bool:
    """Whether a file has these bytes, and `checksums.json` says so too, if there is one."""
    path = root / name
    if not path.is_file() or path.stat().st_size != len(data) or path.read_bytes() != data:
        return False
    if not (root / NAME).exists():
        return True
    entry = listed(root).get(name)
    return entry is not None and entry.is_settled and entry.now == Checksum.of(data)


def _settled(root: Path) -> dict[str, Entry]:
    """The entries, with a decision about those that a killed job left. Only while the lock is held."""
    entries = {}
    for name, entry in listed(root).items():
        present = entry.now if entry.is_settled else _present(root / name)
        if present is not None and present in entry.allowed:
            entries[name] = replace(entry, now=present, is_settled=True, replaces=None)
        elif present not in entry.allowed:
            entries[name] = entry
    return entries


def _present(path: Path) -> Checksum | None:
    return Checksum.of_file(path) if path.is_file() else None


def _locked(root: Path) -> Any:
    return exclusive(root, LOCK, patience=_PATIENCE_SECONDS, what="command")


def _write(root: Path, entries: Mapping[str, Entry]) -> None:
    files = {name: entry.to_json() for name, entry in sorted(entries.items())}
    write_atomic(root / NAME, sealed({"files": files}))

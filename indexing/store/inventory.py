"""The inventory: what all commit records of a gallery say in short, in one file.

A job and `diantu status` need a few values of every record, and to open a million small files takes minutes.
`parts/inventory.jsonl` is only a copy. An entry counts as long as the record has the size and the time that the entry
names; every other record is read itself. So it may be old, damaged or missing, and may be removed. Galleries of few
parts have none.

Each line holds the entries of some parts as a JSON array, and the CRC-32 of it. Jobs append lines; the last entry of a
part counts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ...datasets.checksums import line_seal
from ...datasets.files import read_bytes, write_atomic, writing
from .layout import inventory_path, record_path
from .records import read_part

# With fewer parts, reading all records takes less than a second.
_LEAST_PARTS = 5_000
_ENTRIES_PER_LINE = 1_000
# The file is written anew when so many times as many entries are in it as there are parts.
_MOST_ENTRIES = 2
_SEAL_BYTES = len(line_seal(b""))

_State = tuple[int, int]  # of a record's file: bytes, and nanoseconds of its last change


class Listed(NamedTuple):
    """What the inventory says about a part; see `Part`. A named tuple, because there are millions."""

    number: int
    num_rows: int
    num_samples: int
    shard_id: str
    size_bytes: int  # of the shard
    failures: Mapping[str, int]
    is_quarantined: bool
    state: _State


class Inventory:
    """The inventory of a gallery as its records are now.

    Attributes:
        parts: the parts that have a commit record, by number, ascending.
    """

    def __init__(self, root: Path) -> None:
        """Reads the file, and the records that it does not have.

        Raises:
            InputError: if such a record is damaged.
        """
        self._root = root
        self._num_entries = 0
        noted: dict[int, Listed] = {}
        for entry in _entries(root):
            self._num_entries += 1
            noted[entry.number] = entry
        self._missing: list[Listed] = []
        parts: dict[int, Listed] = {}
        for number, state in _states(root):
            entry = noted.get(number)
            if entry is None or entry.state != state:
                entry = _listed(root, number, state)
                if entry is None:  # it was removed a moment ago
                    continue
                self._missing.append(entry)
            parts[number] = entry
        self.parts: Mapping[int, Listed] = dict(sorted(parts.items()))

    def save(self) -> None:
        """Writes what the file lacks, if there are many parts. Only while the gallery's lock is held."""
        if len(self.parts) < _LEAST_PARTS:
            return
        if self._num_entries + len(self._missing) > _MOST_ENTRIES * len(self.parts):
            write_atomic(inventory_path(self._root), b"".join(_lines(self.parts.values())))
        elif self._missing:
            _append(self._root, self._missing)
        self._missing = []


def note_parts(root: Path, numbers: Iterable[int]) -> None:
    """Adds parts that were just committed to the file, if there is one. Only while the gallery's lock is held."""
    if inventory_path(root).exists():
        listed = (_listed(root, number, _state(record_path(root, number))) for number in numbers)
        _append(root, [entry for entry in listed if entry is not None])


def _append(root: Path, entries: Iterable[Listed]) -> None:
    path = inventory_path(root)
    with writing(path), path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # a job was killed while it wrote
                file.write(b"\n")
        file.writelines(_lines(entries))


def _lines(entries: Iterable[Listed]) -> Iterator[bytes]:
    rest = iter(entries)
    while some := list(islice(rest, _ENTRIES_PER_LINE)):
        body = json.dumps(some, ensure_ascii=False, separators=(",", ":")).encode()
        yield body + line_seal(body)


def _entries(root: Path) -> Iterator[Listed]:
    """The entries of all lines that are as they were written."""
    try:
        lines = read_bytes(inventory_path(root)).splitlines(keepends=True)
    except FileNotFoundError:
        return
    for line in lines:
        body = line[:-_SEAL_BYTES]
        if line[-_SEAL_BYTES:] == line_seal(body):
            for *values, state in json.loads(body):
                yield Listed._make((*values, tuple(state)))


def _states(root: Path) -> Iterator[tuple[int, _State]]:
    """The numbers of all parts that have a commit record, and the states of the records."""
    try:
        with os.scandir(root / "parts") as found:
            for entry in found:
                stem, _, ending = entry.name.partition(".")
                if stem.isdecimal() and ending == "json":
                    status = entry.stat()
                    yield int(stem), (status.st_size, status.st_mtime_ns)
    except FileNotFoundError:
        return


def _state(path: Path) -> _State:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _listed(root: Path, number: int, state: _State) -> Listed | None:
    part = read_part(root, number)
    if part is None:
        return None
    return Listed(
        number=number,
        num_rows=part.num_rows,
        num_samples=part.num_samples,
        shard_id=part.shard["id"],
        size_bytes=part.shard["size_bytes"],
        failures=dict(part.failures),
        is_quarantined=part.quarantined is not None,
        state=state,
    )

"""Damages one file of a folder at random, and records older versions of its files."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Contents = dict[str, bytes]


def contents_of(root: Path) -> Contents:
    """All files but locks, by path."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@dataclass(slots=True)
class History:
    """The versions that the files of a folder had, oldest first."""

    root: Path
    versions: dict[str, list[bytes]] = field(default_factory=dict)

    def record(self) -> None:
        """Notes the present versions."""
        for name, data in contents_of(self.root).items():
            known = self.versions.setdefault(name, [])
            if data not in known:
                known.append(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What happened to a file: `data` is None if it was deleted."""

    name: str
    kind: str
    data: bytes | None

    def apply(self, root: Path) -> None:
        """Damages the file."""
        path = root / self.name
        path.unlink()  # parts of galleries may be hard links
        if self.data is not None:
            path.write_bytes(self.data)


def _flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _zeroed(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    end = rng.randint(start, len(data))
    return data[:start] + bytes(end - start) + data[end:]


def _appended(data: bytes, rng: random.Random) -> bytes:
    return data + rng.choice([b"\n", b" ", b"\0" * 16, rng.randbytes(rng.randint(1, 64)), data])


def _swapped(data: bytes, rng: random.Random) -> bytes:
    size = rng.randint(1, max(len(data) // 2, 1))
    first = rng.randint(0, len(data) - size)
    second = rng.randint(0, len(data) - size)
    changed = bytearray(data)
    changed[first : first + size], changed[second : second + size] = (
        data[second : second + size],
        data[first : first + size],
    )
    return bytes(changed[: len(data)])


_KINDS: Mapping[str, Callable[[bytes, random.Random], bytes]] = {
    "flipped": _flipped,
    "zeroed": _zeroed,
    "truncated": lambda data, rng: data[: rng.randrange(len(data))],
    "appended": _appended,
    "swapped": _swapped,
}


def random_damage(whole: Contents, history: History, other: Contents, rng: random.Random) -> Damage:
    """A change of one file that leaves other bytes than before.

    Args:
        whole: the files of the folder.
        history: their older versions.
        other: the files of another folder of the same kind.
        rng: decides.
    """
    while True:
        name = rng.choice(sorted(whole))
        kind = rng.choice([*_KINDS, "deleted", "of another folder", "another file", "older"])
        data: bytes | None
        if kind == "deleted":
            data = None
        elif kind == "of another folder":
            data = other.get(name, whole[name])
        elif kind == "another file":
            data = whole[rng.choice([each for each in sorted(whole) if Path(each).suffix == Path(name).suffix])]
        elif kind == "older":
            data = rng.choice(history.versions[name])
        else:
            data = _KINDS[kind](whole[name], rng)
        if data != whole[name]:
            return Damage(name=name, kind=kind, data=data)


def restore(root: Path, whole: Contents) -> None:
    """Writes the files as they were, and removes all others."""
    for path in root.rglob("*"):
        if path.is_file() and path.relative_to(root).as_posix() not in whole:
            path.unlink()
    for name, data in whole.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != data:
            path.unlink(missing_ok=True)
            path.write_bytes(data)

"""Commit records: which parts a gallery has, and what each consists of.

This module imports neither numpy nor pyarrow, because `diantu status` needs only these records and must start quickly.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...datasets.checksums import SMALL, Checksum, sealed, unsealed
from ...datasets.errors import InputError
from ...datasets.files import file_error, read_bytes, write_atomic
from .layout import part_name, record_path

# What to do about a part whose files are damaged.
REMEDY = (
    "diantu status --verify lists the damaged files; remove the part's file in parts/ and run diantu embed to rebuild "
    "the part"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The commit record of a part. It contains no times, so the same shard gives the same bytes.

    `num_samples` are those of the shard. Each is a row, or counted in `failures`, or was deleted and left out by a
    compaction. `quarantined` is why the shard could not be read at all, in which case there are no rows.
    """

    number: int
    num_rows: int
    dim: int
    dtype: str
    encoder_fingerprint: str
    shard: Mapping[str, Any]
    num_samples: int
    failures: Mapping[str, int]
    files: Mapping[str, Mapping[str, Any]]
    quarantined: str | None = None

    def __post_init__(self) -> None:
        """Refuses what no commit record has, because those of earlier releases have no checksum."""
        numbers = (self.number, self.num_rows, self.dim, self.num_samples, *self.failures.values())
        sizes = [expected["bytes"] for expected in self.files.values()]
        texts = [self.shard["id"], self.shard["uri"], *(expected["sha256"] for expected in self.files.values())]
        if not all(type(n) is int and n >= 0 for n in (*numbers, *sizes)) or not all(type(t) is str for t in texts):
            raise ValueError("a value has another type")

    @property
    def name(self) -> str:
        """The part's number as in the names of its files."""
        return part_name(self.number)


def read_part(root: Path, number: int) -> Part | None:
    """The commit record of a part; None if there is none, which means that the part does not exist.

    Raises:
        InputError: if the record is damaged.
    """
    path = record_path(root, number)
    try:
        part = Part(**unsealed(read_bytes(path))[0])
        if part.number != number:
            raise ValueError(f"it is the record of part {part.name}")
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path} is damaged ({error}); remove it and run diantu embed again to rebuild that part"
        ) from error
    return part


def is_sealed(root: Path, number: int) -> bool:
    """Whether the commit record of a part has a checksum; those of earlier releases have none."""
    return unsealed(read_bytes(record_path(root, number)))[1]


def write_record(root: Path, part: Part) -> Part:
    """Writes the commit record of a part, with a checksum in its last line."""
    write_atomic(record_path(root, part.number), sealed(asdict(part)))
    return part


def committed(root: Path) -> set[int]:
    """The numbers of all parts that have a commit record."""
    try:
        names = os.listdir(root / "parts")
    except FileNotFoundError:
        return set()
    stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return {int(stem) for stem in stems if stem.isdecimal()}


def verify_part(root: Path, part: Part) -> list[str]:
    """What is wrong with a part's files, one sentence per file; reads all of them.

    Raises:
        FileError: if a file cannot be read.
    """
    problems = {name: problem_of_file(root / name, expected) for name, expected in part.files.items()}
    return [f"{name} {problem}" for name, problem in problems.items() if problem]


def check_file(root: Path, number: int, path: Path, *, most: int | None = SMALL) -> None:
    """Compares a file of a part with its checksum before something parses the file.

    Args:
        root: the folder of the gallery, or of one of its spaces.
        number: the part's number.
        path: the file.
        most: of a larger file only the size is compared; None compares all bytes of every file.

    Raises:
        InputError: if the file is not the one that was written.
    """
    part = read_part(root, number)
    expected = part.files.get(path.relative_to(root).as_posix()) if part else None
    if expected and (problem := problem_of_file(path, expected, most=most)):
        raise InputError(f"{path} {problem}; {REMEDY}")


def check_parts(root: Path, numbers: Iterable[int], folders: Collection[str]) -> None:
    """Compares all bytes of the parts' files in some folders with their checksums, before a job builds on them.

    Args:
        root: the folder of the gallery, or of one of its spaces.
        numbers: of the parts.
        folders: such as `metadata`.

    Raises:
        InputError: if a file is not the one that was written.
    """
    for number in numbers:
        part = read_part(root, number)
        for name, expected in part.files.items() if part else ():
            if name.partition("/")[0] in folders and (problem := problem_of_file(root / name, expected)):
                raise InputError(f"{root / name} {problem}; {REMEDY}")


def problem_of_file(path: Path, expected: Mapping[str, Any], *, most: int | None = None) -> str | None:
    """Why a file of a part is not the one that was written; None if it is.

    Args:
        path: the file.
        expected: its entry in the record of the part.
        most: of a larger file only the size is compared; None compares all bytes of every file.

    Raises:
        FileError: if the operating system does not let us read it.
    """
    try:
        size = path.stat().st_size
        if size == expected["bytes"] and (
            (most is not None and size > most) or Checksum.of_file(path).sha256 == expected["sha256"]
        ):
            return None
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        raise file_error(error, path, "read") from error
    return "has changed since it was written"

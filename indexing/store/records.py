"""Commit records: which parts a gallery has, and what each consists of.

This module imports neither numpy nor pyarrow, because `diantu status` needs only these records and must start quickly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...datasets.errors import InputError
from ...datasets.files import sha256_of_file
from .layout import part_name, record_path

# Part names have five digits, so that the order of names is the order of parts.
MAX_PARTS = 100_000


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
        return Part(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({error}); remove it and run diantu embed again to rebuild that part"
        ) from error


def committed(root: Path) -> set[int]:
    """The numbers of all parts that have a commit record."""
    return {int(path.stem) for path in (root / "parts").glob("[0-9]*.json")}


def verify_part(root: Path, part: Part) -> list[str]:
    """What is wrong with a part's files, one sentence per file; reads all of them."""
    problems = []
    for name, expected in part.files.items():
        path = root / name
        if not path.exists():
            problems.append(f"{name} is missing")
        elif sha256_of_file(path) != expected["sha256"]:
            problems.append(f"{name} has changed since it was written")
    return problems

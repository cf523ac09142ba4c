"""A checksum, what `checksums.json` says about a file, and the error for a file that is not what it should be."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import first_line
from ..files import open_regular

MISSING = "is missing"
_BLOCK = 1 << 20


class DamagedError(ValueError):
    """A file is missing, or is not what its checksum says. The message completes the sentence "the file …"."""


def damage(path: Path, error: Exception) -> str:
    """The beginning of a message about a damaged file: its path, and what is wrong."""
    if not isinstance(error, DamagedError):
        return f"{path} is damaged ({first_line(error)})"
    return f"{path} {error}" if str(error) == MISSING else f"{path} is damaged (it {error})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksum:
    """The size of a file in bytes, and its SHA-256 as a hex digest."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Checksum:
        """The checksum of some bytes."""
        return cls(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    @classmethod
    def of_file(cls, path: Path) -> Checksum:
        """The checksum of a file of any size."""
        with open_regular(path) as file:
            return cls.of_open(file)

    @classmethod
    def of_open(cls, file: IO[bytes], most: int | None = None) -> Checksum:
        """The checksum of an open file, or of its first `most` bytes. The position is at the beginning afterwards."""
        digest, left = hashlib.sha256(), most
        file.seek(0)
        while block := file.read(_BLOCK if left is None else min(_BLOCK, left)):
            digest.update(block)
            left = None if left is None else left - len(block)
        size = file.tell()
        file.seek(0)
        return cls(bytes=size, sha256=digest.hexdigest())

    def to_json(self) -> dict[str, Any]:
        """The values as `checksums.json` holds them."""
        return {"bytes": self.bytes, "sha256": self.sha256}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What `checksums.json` says about a file.

    Attributes:
        now: the checksum of the file.
        is_settled: False while the file is being replaced, or if a job was killed in that moment.
        replaces: the checksum of the file before; None if there was none, or the entry is settled.
        is_prefix: True if jobs append to the file, and `now` is the checksum of its first bytes.
    """

    now: Checksum
    is_settled: bool = True
    replaces: Checksum | None = None
    is_prefix: bool = False

    @property
    def allowed(self) -> tuple[Checksum | None, ...]:
        """The checksums that the file may have; None stands for a file that does not exist."""
        return (self.now,) if self.is_settled else (self.now, self.replaces)

    def to_json(self) -> dict[str, Any]:
        """The values as `checksums.json` holds them."""
        values = {**self.now.to_json(), **({"appended_to": True} if self.is_prefix else {})}
        if self.is_settled:
            return values
        return {**values, "replaces": self.replaces.to_json() if self.replaces else None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Entry:
        """Inverse of `to_json`."""
        before = values.get("replaces")
        return cls(
            now=Checksum(bytes=values["bytes"], sha256=values["sha256"]),
            is_settled="replaces" not in values,
            replaces=Checksum(**before) if before else None,
            is_prefix="appended_to" in values,
        )

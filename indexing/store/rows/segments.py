"""The files of the row store: `rows/rows.json` lists segments, and each segment has five files and is never changed.

A segment holds the metadata of consecutive parts: `rows_00000.jsonl` has a line per row, `offsets_00000.npy` says where
each line begins, `columns_00000.parquet` and `texts_00000.arrow` have the same values as columns, and
`record_00000.json` names the parts, their columns and the checksums of the four. The list is written last, so a job
that is killed leaves files that no list names, which the next job removes.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....datasets import checksums
from ....datasets.checksums import sealed, unsealed
from ....datasets.errors import InputError
from ....datasets.files import read_bytes, write_atomic
from ..layout import ROWS, metadata_path
from ..manifest import Manifest
from ..records import read_part
from .lines import LineSchema

_VERSION = 1
_FOLDER = Path(ROWS).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A segment as the list has it: its number, how many parts and rows it holds, the bytes of its files."""

    number: int
    num_parts: int
    num_rows: int
    num_bytes: int

    @property
    def name(self) -> str:
        """Its number as in the names of its files."""
        return f"{self.number:05d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPart:
    """A part in a segment: its number, its rows, the checksum of its metadata, the position of its schema."""

    number: int
    num_rows: int
    sha256: str
    schema: int

    def is_current(self, root: Path) -> bool:
        """Whether the part still has the metadata that was laid out: it may have been embedded again since.

        Raises:
            InputError: if the part's record is damaged.
        """
        return not self.num_rows or metadata_sha256(root, self.number) == self.sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRecord:
    """What a segment holds.

    Attributes:
        parts: in the order of their rows.
        schemas: the columns of the parts' metadata; a part has the position of its own.
        mixed: columns, in lower case, that are of several types in these parts, so that no file of columns has them.
        texts: columns, in lower case, that are in the file of texts; the others are in the columns file.
        files: path in the gallery → size and SHA-256.
    """

    parts: tuple[SegmentPart, ...]
    schemas: tuple[LineSchema, ...]
    mixed: frozenset[str]
    texts: frozenset[str]
    files: Mapping[str, Mapping[str, Any]]

    def save(self, root: Path, number: int) -> None:
        """Writes the record, with a checksum in its last line."""
        values = {
            "version": _VERSION,
            "parts": [[part.number, part.num_rows, part.sha256, part.schema] for part in self.parts],
            "schemas": self.schemas,
            "mixed": sorted(self.mixed),
            "texts": sorted(self.texts),
            "files": self.files,
        }
        write_atomic(root / record_name(number), sealed(values))


def read_record(root: Path, number: int) -> SegmentRecord:
    """Reads the record of a segment.

    Raises:
        FileNotFoundError: if a job has removed the segment.
        ValueError: if it is damaged.
    """
    values, is_sealed = unsealed(read_bytes(root / record_name(number)))
    if not is_sealed or values["version"] != _VERSION:
        raise ValueError("it was written by another version")
    return SegmentRecord(
        parts=tuple(SegmentPart(number=n, num_rows=rows, sha256=sha, schema=i) for n, rows, sha, i in values["parts"]),
        schemas=tuple(tuple((name, kind) for name, kind in schema) for schema in values["schemas"]),
        mixed=frozenset(values["mixed"]),
        texts=frozenset(values.get("texts", ())),  # earlier versions had no file of texts
        files=values["files"],
    )


def read_segments(root: Path, manifest: Manifest) -> list[Segment]:
    """The segments that hold the gallery's first parts; none where there is no row store, or that of other parts.

    Raises:
        InputError: if the list is damaged.
    """
    try:
        values = json.loads(checksums.read_checked(root, ROWS).decode("utf-8"))
        if values["version"] != _VERSION:
            return []  # of a later release; the parts have everything
        segments = [
            Segment(number=each["segment"], num_parts=each["parts"], num_rows=each["rows"], num_bytes=each["bytes"])
            for each in values["segments"]
        ]
    except FileNotFoundError:
        return []
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{checksums.damage(root / ROWS, error)}; write it again with: diantu index") from error
    return list(itertools.takewhile(_Fits(manifest), segments))


def write_segments(root: Path, segments: Sequence[Segment]) -> None:
    """Writes the list of segments."""
    listed = [
        {"segment": each.number, "parts": each.num_parts, "rows": each.num_rows, "bytes": each.num_bytes}
        for each in segments
    ]
    checksums.write_checked_json(root, ROWS, {"version": _VERSION, "segments": listed})


class _Fits:
    """Whether the next segment holds as many rows as the gallery has in the next parts."""

    def __init__(self, manifest: Manifest) -> None:
        self._left = iter(manifest.parts)

    def __call__(self, segment: Segment) -> bool:
        counts = [rows for _, rows in itertools.islice(self._left, segment.num_parts)]
        return len(counts) == segment.num_parts and sum(counts) == segment.num_rows


def metadata_sha256(root: Path, number: int) -> str | None:
    """The checksum of a part's metadata, from the record of the part; None if there is no such part."""
    part = read_part(root, number)
    entry = part.files.get(metadata_path(root, number).relative_to(root).as_posix()) if part else None
    return entry["sha256"] if entry else None


def remedy(root: Path, number: int) -> str:
    """What to do about a damaged segment."""
    return f"remove {root / record_name(number)} and run diantu index"


def lines_name(number: int) -> str:
    """The path of a segment's lines in the gallery."""
    return f"{_FOLDER}/rows_{number:05d}.jsonl"


def offsets_name(number: int) -> str:
    """The path of the offsets of a segment's lines in the gallery."""
    return f"{_FOLDER}/offsets_{number:05d}.npy"


def columns_name(number: int) -> str:
    """The path of a segment's columns in the gallery."""
    return f"{_FOLDER}/columns_{number:05d}.parquet"


def texts_name(number: int) -> str:
    """The path of a segment's texts in the gallery; segments of earlier versions have all columns in one file."""
    return f"{_FOLDER}/texts_{number:05d}.arrow"


def record_name(number: int) -> str:
    """The path of a segment's record in the gallery."""
    return f"{_FOLDER}/record_{number:05d}.json"

"""Rows as files, written piece by piece: 10 000 originals do not fit into memory."""

from __future__ import annotations

import io
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ...datasets import display
from ...datasets.decoding import media_type
from ...datasets.errors import PixelsError
from ...datasets.values import jsonable
from ...indexing.store.tables import metadata_table
from ..hits import named_beside, write_csv
from ..pixels import read_pixels
from .context import Context
from .served import Opened

_Write: TypeAlias = Callable[[Context, Opened, Sequence[int]], Iterator[bytes]]

_TOGETHER = 256  # rows whose metadata is read together
_METADATA = "metadata.jsonl"
_OWN = ("row", "file", "problem")
_LONGEST_NAME = 80  # characters of a key in the name of a file


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file: its media type, and what writes it."""

    media_type: str
    write: _Write


def _jsonl(context: Context, opened: Opened, rows: Sequence[int]) -> Iterator[bytes]:
    del context
    for row, record in _records(opened, rows):
        yield _line({"row": row} | record)


def _csv(context: Context, opened: Opened, rows: Sequence[int]) -> Iterator[bytes]:
    """One table, whose columns are those of all rows."""
    del context
    table = metadata_table([{"row": row} | record for row, record in _records(opened, rows)])
    text = io.StringIO(newline="")
    write_csv(table, text)
    yield text.getvalue().encode("utf-8-sig")


def _zip(context: Context, opened: Opened, rows: Sequence[int]) -> Iterator[bytes]:
    """The original images as they are, and a line for each row that says its file, or why there is none."""
    sink, lines = _Sink(), []
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # images are compressed already
        for row, record in _records(opened, rows):
            try:
                data = read_pixels(record, from_url=context.settings.allow_urls)
            except PixelsError as error:
                lines.append(_line({"row": row, "file": None, "problem": str(error)} | record))
                continue
            name = _file_name(row, str(record["key"]), data)
            archive.writestr(_member(name), data)
            lines.append(_line({"row": row, "file": name} | record))
            yield sink.taken()
        archive.writestr(_member(_METADATA), b"".join(lines), zipfile.ZIP_DEFLATED)
    yield sink.taken()


FORMATS: Mapping[str, Format] = {
    "jsonl": Format("application/jsonl", _jsonl),
    "csv": Format("text/csv", _csv),
    "zip": Format("application/zip", _zip),
}


def _records(opened: Opened, rows: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows and their metadata, without names that an export has itself."""
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        for row, record in zip(some, opened.gallery.rows(some), strict=True):
            yield row, named_beside(_OWN, record.items())


def _line(fields: Mapping[str, Any]) -> bytes:
    present = {name: jsonable(value) for name, value in fields.items() if value is not None or name == "file"}
    return display.to_json(present).encode() + b"\n"


def _file_name(row: int, key: str, data: bytes) -> str:
    """A name that no other row has and that is a plain file name on every system, whatever the key holds."""
    plain = re.sub(r"[^\w-]+", "_", unicodedata.normalize("NFC", key)).strip("_")[:_LONGEST_NAME]
    kind = media_type(data)
    return f"{row}_{plain}.{kind[1] if kind else 'bin'}" if plain else f"{row}.{kind[1] if kind else 'bin'}"


def _member(name: str) -> zipfile.ZipInfo:
    """A member that its owner may read and write; without a time, so that the same rows give the same bytes."""
    member = zipfile.ZipInfo(name)
    member.external_attr = 0o644 << 16
    return member


class _Sink:
    """What an archive is written to: it cannot seek, and gives away what it has."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> bytes:
        """What was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)

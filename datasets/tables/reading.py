"""One table of captions, CSV, JSONL or JSON → its rows by the names of images."""

from __future__ import annotations

import csv
import io
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..encodings import decode_text
from ..errors import InputError
from ..names import NAMES, find_caption, find_column
from ..places import resolve
from ..text import find_delimiter, json_objects
from .coco import parse_json_table
from .columns import typed
from .matching import FoldedNames

log = logging.getLogger(__name__)

Row = Mapping[str, Any]

EXTENSIONS = (".csv", ".tsv", ".jsonl")
# A table becomes Python objects of about ten times its size. Larger ones belong into shards.
_MAX_BYTES = 1 << 30
_KNOWN = frozenset({*NAMES["file"], *NAMES["caption"]})


@dataclass(frozen=True, slots=True)
class Table:
    """A table of captions: its rows by the names of images as they are written, and `names` to find other writings."""

    uri: str
    rows: Mapping[str, Row]
    names: FoldedNames

    @property
    def folder(self) -> str:
        """The folder that the table lies in; its names are relative to it."""
        return self.uri.rpartition("/")[0]

    def has_captions(self) -> bool:
        """Whether there is a column of captions."""
        return find_caption({name for row in self.rows.values() for name in row}) is not None


def read_table(uri: str) -> Table:
    """Reads a table of captions.

    A CSV has commas, tabs or semicolons, whichever its header shows. Its columns become numbers where that loses
    nothing; see `columns.typed`. The values of JSONL and JSON keep their types; see `coco.parse_json_table`. Several
    rows of one image become one row: each column of captions is the list of all, the other columns have the values of
    the first row.

    Raises:
        InputError: if it cannot be read, or has no column that names images.
    """
    try:
        filesystem, path = resolve(uri)
        if not filesystem.isfile(path):
            problem = "is not a file" if filesystem.exists(path) else "cannot be read: there is no such file"
            raise InputError(f"the table of captions {uri} {problem}; give a CSV, JSONL or JSON file")
        info = filesystem.info(path)
        size = int(info.get("size") or 0)
        if size > _MAX_BYTES:
            raise InputError(
                f"the table of captions {uri} has {size >> 20} MB; {_MAX_BYTES >> 20} MB can be read, so divide it"
            )
        return _read(uri, size, info.get("mtime"), info.get("ino"))
    except (OSError, ValueError, ImportError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the table of captions {uri} cannot be read: {error}") from error


@lru_cache(maxsize=4)
def _read(uri: str, size: int, mtime: float | None, inode: int | None) -> Table:
    del size, mtime, inode  # part of the cache key, so that a changed table is read again
    filesystem, path = resolve(uri)
    # Bounded, because the file may have grown.
    text = decode_text(filesystem.cat_file(path, start=0, end=_MAX_BYTES))
    ending = uri.lower().rpartition(".")[2]
    parse, kind = _PARSERS.get(ending, (_parse_csv, "a CSV file with commas, tabs or semicolons"))
    try:
        rows = parse(text)
    except (ValueError, csv.Error) as error:
        raise InputError(f"the table of captions {uri} is not {kind}: {error}") from error
    if not rows:
        raise InputError(f"the table of captions {uri} has no rows; give one row per image")
    column = find_column(rows[0], "file")
    if column is None:
        allowed = ", ".join(NAMES["file"])
        raise InputError(f"the table of captions {uri} has no column that names images; call it one of: {allowed}")
    by_name = _merged(uri, column, rows)
    return Table(uri, by_name, FoldedNames(by_name))


def _merged(uri: str, column: str, rows: Iterable[dict[str, Any]]) -> dict[str, Row]:
    merged: dict[str, Row] = {}
    further: dict[str, list[Row]] = {}
    num_nameless = 0
    for row in rows:
        name = row.pop(column, None)
        if name is None or not (plain := _plain_path(name)):
            num_nameless += 1
            continue
        if plain in merged:
            further.setdefault(plain, []).append(row)
        else:
            merged[plain] = row
    if num_nameless:
        log.warning("%s: %d rows are not used, because they name no image", uri, num_nameless)
    differing: set[str] = set()
    for name, others in further.items():
        merged[name] = _joined([merged[name], *others], differing)
    if differing:
        log.warning(
            "%s: %d images have several rows; all their captions are kept, of the columns %s the first values",
            uri,
            len(further),
            ", ".join(sorted(differing)),
        )
    return merged


def _joined(rows: list[Row], differing: set[str]) -> Row:
    """Rows of one image as one row. Names of columns that lose values are added to `differing`."""
    joined: dict[str, Any] = {}
    for column in dict.fromkeys(name for row in rows for name in row):
        values: list[Any] = []
        for value in (row.get(column) for row in rows):
            if value is not None and value not in values:
                values.append(value)
        if len(values) > 1 and _is_caption(column):
            joined[column] = [text for value in values for text in (value if isinstance(value, list) else [value])]
            continue
        if len(values) > 1:
            differing.add(column)
        joined[column] = values[0] if values else None
    return joined


def _is_caption(column: str) -> bool:
    return "caption" in column.lower() or column.lower() in NAMES["caption"]


def _plain_path(name: Any) -> str:
    plain = str(name).strip().replace("\\", "/")
    while plain.startswith("./"):
        plain = plain[2:]
    return plain


def _parse_csv(text: str) -> list[dict[str, Any]]:
    rows = _cells(text)
    header = next(rows, [])
    names = [name.strip() or f"column_{number}" for number, name in enumerate(header, start=1)]
    if find_column(names, "file") is None:
        return [dict.fromkeys(names)]  # not read further, because it is no table of images
    if doubled := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ValueError(f"two columns have the name {doubled[0]!r}")
    records = list(rows)
    columns = [typed(name, [row[i] or None for row in records]) for i, name in enumerate(names)]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _cells(text: str) -> Iterator[list[str]]:
    """The rows of a CSV, its header first.

    Raises:
        ValueError: if a row has not as many cells as the header.
    """
    delimiter = find_delimiter(text, lambda name: name.lower() in _KNOWN)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    width = 0
    for row in reader:
        if not row:
            continue
        if width and len(row) != width:
            raise ValueError(f"line {reader.line_num} has {len(row)} cells and the header has {width}")
        width = len(row)
        yield row


def _parse_jsonl(text: str) -> list[dict[str, Any]]:
    rows = []
    for _, row in json_objects(text):
        rows.append(row)
        if len(rows) == 1 and find_column(row, "file") is None:
            break  # not read further, because it is no table of images
    return rows


_PARSERS: Mapping[str, tuple[Callable[[str], list[dict[str, Any]]], str]] = {
    "jsonl": (_parse_jsonl, "a JSONL file"),
    "json": (parse_json_table, "a JSON table"),
}

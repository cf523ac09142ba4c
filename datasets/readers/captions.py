"""Tables of captions: a CSV or JSONL file with one row per image, which names the image's file."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ..errors import InputError, ShardError
from ..names import NAMES, find_caption, find_column
from ..text import decode_text
from ..values import plain_rows

log = logging.getLogger(__name__)

Row = Mapping[str, Any]

TABLE_EXTENSIONS = (".csv", ".jsonl")


def read_table(uri: str) -> Mapping[str, Row]:
    """Reads a table of captions as rows by image name. Numbers in a CSV become numbers.

    Raises:
        InputError: if it cannot be read, has no column that names images, or names an image twice.
    """
    filesystem, path = fsspec.core.url_to_fs(uri)
    try:
        info = filesystem.info(path)
    except OSError as error:
        raise InputError(f"the table of captions {uri} cannot be read: {error}") from error
    return _read_table(uri, info.get("size"), info.get("mtime"))


def find_row(table: Mapping[str, Row], member: str, *, by_name: bool = False) -> Row:
    """The row of an image, found by its path below the folder, with or without its ending; {} if there is none.

    With `by_name`, a row that names no folder also matches an image in a subfolder. Use that only if no two images have
    the same name.
    """
    name = member.rpartition("/")[2]
    for candidate in (member, name) if by_name else (member,):
        for written in (candidate, candidate.rpartition(".")[0]):
            if written in table:
                return table[written]
    return {}


def has_captions(table: Mapping[str, Row]) -> bool:
    """Whether a table has a column of captions."""
    return find_caption(name for row in table.values() for name in row) is not None


def read_img2dataset_rows(tar_uri: str) -> Mapping[str, Row]:
    """The rows of the parquet file that img2dataset writes beside a tar, by key; {} if there is no such file.

    They are in download order and include the failed downloads, so only the key joins them to samples.

    Raises:
        ShardError: if the file cannot be read; another try may succeed.
    """
    uri = f"{tar_uri.removesuffix('.gz').rpartition('.')[0]}.parquet"
    filesystem, path = fsspec.core.url_to_fs(uri)
    if not filesystem.isfile(path):
        return {}
    try:
        with pq.ParquetFile(path, filesystem=filesystem) as file:
            rows = plain_rows(file.read())
    except (OSError, pa.ArrowException) as error:
        raise ShardError(f"{uri} beside the tar cannot be read: {error}", may_pass=True) from error
    by_key: dict[str, Row] = {}
    for row in rows:
        key = row.pop("key", None)
        if key is not None:  # keys may repeat where the table is not img2dataset's: then the first row counts
            by_key.setdefault(str(key), row)
    if by_key and len(by_key) < len(rows):
        log.warning("%s: %d rows are not used, because their key is missing or repeats", uri, len(rows) - len(by_key))
    return by_key


def find_table(folder: str, members: Sequence[str], *, by_name: bool) -> str | None:
    """The URI of the only table at the top of a folder that names most of its images; None if there is none.

    Raises:
        InputError: if several tables do, because a guess could give images the wrong captions.
    """
    filesystem, root = fsspec.core.url_to_fs(folder)
    fitting = []
    for path in sorted(str(path) for path in filesystem.ls(root, detail=False)):
        if not path.lower().endswith(TABLE_EXTENSIONS):
            continue
        uri = f"{folder}/{path.rpartition('/')[2]}"
        try:
            num_found = count_rows(uri, members, by_name=by_name)
        except InputError as error:
            log.warning("not used for captions: %s", error)
            continue
        if 2 * num_found > len(members):
            fitting.append(uri)
        else:
            log.warning("not used for captions: %s names %d of %d images", uri, num_found, len(members))
    if len(fitting) > 1:
        names = ", ".join(fitting)
        raise InputError(f"{folder} holds several tables that name its images ({names}); choose one with --captions")
    return fitting[0] if fitting else None


def count_rows(uri: str, members: Sequence[str], *, by_name: bool) -> int:
    """The number of images that a table has rows for."""
    table = read_table(uri)
    return sum(bool(find_row(table, member, by_name=by_name)) for member in members)


@lru_cache(maxsize=4)
def _read_table(uri: str, size: int | None, mtime: float | None) -> Mapping[str, Row]:
    del size, mtime  # part of the cache key, so that a changed table is read again
    filesystem, path = fsspec.core.url_to_fs(uri)
    data: bytes = filesystem.cat_file(path)
    try:
        rows = _parse_csv(data) if uri.lower().endswith(".csv") else _parse_jsonl(data)
    except (ValueError, pa.ArrowException) as error:
        raise InputError(f"the table of captions {uri} is not a CSV (with commas) or JSONL file: {error}") from error
    column = find_column(rows[0] if rows else (), "file")
    if column is None:
        allowed = ", ".join(NAMES["file"])
        raise InputError(f"the table of captions {uri} has no column that names images; call it one of: {allowed}")
    table = {_plain_path(row.get(column)): {k: v for k, v in row.items() if k != column} for row in rows}
    if len(table) < len(rows):
        raise InputError(f"the table of captions {uri} names some images twice in its column {column!r}")
    return table


def _plain_path(name: Any) -> str:
    return str(name).replace("\\", "/").removeprefix("./")


def _parse_csv(data: bytes) -> list[dict[str, Any]]:
    written = decode_text(data)
    header = next(csv.reader(io.StringIO(written)), [])
    # Names and captions stay text even if all of them look like numbers or dates.
    types = {name: pa.string() for name in header if name.lower() in NAMES["file"] or "caption" in name.lower()}
    table = pyarrow.csv.read_csv(
        pa.BufferReader(written.encode()),
        # No threads: those of pyarrow abort the process if it ends before they do.
        read_options=pyarrow.csv.ReadOptions(use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""]),
    )
    return [{name: _plain(value) for name, value in row.items()} for row in table.to_pylist()]


def _parse_jsonl(data: bytes) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in decode_text(data).splitlines() if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("every line must be a JSON object")
    return rows


def _plain(value: Any) -> Any:
    """Turns dates and times, which pyarrow makes of text that looks like them, back into text."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)

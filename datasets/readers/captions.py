"""Tables of captions: a CSV or JSONL file with one row a picture, found by the picture's name."""

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
from ..names import CAPTION_COLUMNS, FILE_COLUMNS
from ..text import decode_text

log = logging.getLogger(__name__)

Row = Mapping[str, Any]

TABLE_EXTENSIONS = (".csv", ".jsonl")


def read_table(uri: str) -> Mapping[str, Row]:
    """Reads a table of captions as rows by picture name; numbers in a CSV become numbers.

    Raises:
        InputError: if it cannot be read, has no column that names pictures, or names one twice.
    """
    filesystem, path = fsspec.core.url_to_fs(uri)
    try:
        info = filesystem.info(path)
    except OSError as error:
        raise InputError(f"the table of captions {uri} cannot be read: {error}") from error
    return _read_table(uri, info.get("size"), info.get("mtime"))


def find_row(table: Mapping[str, Row], member: str, *, by_name: bool = False) -> Row:
    """The row of a picture, found by its path below the folder, with or without its ending; else {}.

    With `by_name` a row that names no folder also stands for a picture in a subfolder. That is right only where no two
    pictures have the same name.
    """
    name = member.rpartition("/")[2]
    for candidate in (member, name) if by_name else (member,):
        for written in (candidate, candidate.rpartition(".")[0]):
            if written in table:
                return table[written]
    return {}


def has_captions(table: Mapping[str, Row]) -> bool:
    """Whether a table has a column of captions."""
    columns = {name.lower() for row in table.values() for name in row}
    return any(name in CAPTION_COLUMNS or name.startswith("caption_") for name in columns)


def read_img2dataset_rows(tar_uri: str) -> Mapping[str, Row]:
    """The rows of the parquet file that img2dataset writes beside a tar, by key; {} where there is none.

    They come in download order and have the failed downloads too, so nothing but the key joins them to samples.
    """
    uri = f"{tar_uri.removesuffix('.gz').rpartition('.')[0]}.parquet"
    filesystem, path = fsspec.core.url_to_fs(uri)
    if not filesystem.isfile(path):
        return {}
    try:
        table = pq.read_table(path, filesystem=filesystem)
    except (OSError, pa.ArrowException) as error:
        raise ShardError(f"{uri} beside the tar cannot be read: {error}", may_pass=True) from error
    if "key" not in table.column_names:
        return {}
    return {str(row["key"]): {k: v for k, v in row.items() if k != "key"} for row in table.to_pylist()}


def find_table(folder: str, members: Sequence[str], *, by_name: bool) -> str | None:
    """The one table at the top of a folder that names most of its pictures, if there is one.

    Raises:
        InputError: if several do, since guessing between them could give pictures the wrong captions.
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
            log.warning("not used for captions: %s names %d of %d pictures", uri, num_found, len(members))
    if len(fitting) > 1:
        names = ", ".join(fitting)
        raise InputError(f"{folder} holds several tables that name its pictures ({names}); name one with --captions")
    return fitting[0] if fitting else None


def count_rows(uri: str, members: Sequence[str], *, by_name: bool) -> int:
    """How many of the pictures a table has rows for."""
    table = read_table(uri)
    return sum(bool(find_row(table, member, by_name=by_name)) for member in members)


@lru_cache(maxsize=4)
def _read_table(uri: str, size: int | None, mtime: float | None) -> Mapping[str, Row]:
    del size, mtime  # they are in the key, so that a table that changed is read again
    filesystem, path = fsspec.core.url_to_fs(uri)
    data: bytes = filesystem.cat_file(path)
    try:
        rows = _parse_csv(data) if uri.lower().endswith(".csv") else _parse_jsonl(data)
    except (ValueError, pa.ArrowException) as error:
        raise InputError(f"the table of captions {uri} is not a CSV (with commas) or JSONL file: {error}") from error
    column = _file_column(list(rows[0]) if rows else [])
    if column is None:
        allowed = ", ".join(FILE_COLUMNS)
        raise InputError(f"the table of captions {uri} has no column that names pictures; call it one of: {allowed}")
    table = {_plain_path(row.get(column)): {k: v for k, v in row.items() if k != column} for row in rows}
    if len(table) < len(rows):
        raise InputError(f"the table of captions {uri} names some pictures twice in its column {column!r}")
    return table


def _plain_path(name: Any) -> str:
    return str(name).replace("\\", "/").removeprefix("./")


def _parse_csv(data: bytes) -> list[dict[str, Any]]:
    written = decode_text(data)
    header = next(csv.reader(io.StringIO(written)), [])
    # Names and captions stay text even where all of them look like numbers or dates.
    text = {name: pa.string() for name in header if name.lower() in FILE_COLUMNS or "caption" in name.lower()}
    table = pyarrow.csv.read_csv(
        pa.BufferReader(written.encode()),
        # Without threads: pyarrow's abort the process when it ends before they have.
        read_options=pyarrow.csv.ReadOptions(use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types=text, strings_can_be_null=True, null_values=[""]),
    )
    return [{name: _plain(value) for name, value in row.items()} for row in table.to_pylist()]


def _parse_jsonl(data: bytes) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in decode_text(data).splitlines() if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("every line must be a JSON object")
    return rows


def _plain(value: Any) -> Any:
    """Dates and times, which pyarrow makes of text that looks like them, back to text."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _file_column(columns: Sequence[str]) -> str | None:
    by_name = {name.lower(): name for name in columns}
    return next((by_name[name] for name in FILE_COLUMNS if name in by_name), None)

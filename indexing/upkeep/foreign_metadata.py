"""Metadata that other tools wrote → records under diantu's names."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.errors import InputError, first_line
from ...datasets.files import refuse_unless_damaged
from ...datasets.names import NAMES, find_caption, further_columns
from ...datasets.values import as_text, holds_bytes, plain, plain_column
from ..store.tables import COLUMNS, Record

log = logging.getLogger(__name__)

_MOST_PIXELS = 1 << 31


def num_rows(path: Path) -> int:
    """The number of rows of a metadata file.

    Raises:
        InputError: if it cannot be read as a parquet file.
    """
    try:
        return pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    refuse_unless_damaged(error, path)
    return InputError(f"{path} cannot be read as a parquet file: {first_line(error)}; write it again")


def read_records(path: Path, first: str) -> list[Record]:
    """The rows of a metadata file under diantu's names."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    left_out = [field.name for field in table.schema if holds_bytes(field.type)]
    if left_out:
        log.warning("%s: columns of bytes are left out: %s", path, ", ".join(left_out))
    columns = [
        (name, _unfolded(column) if name == "metadata" else plain_column(column))
        for name, column in zip(table.column_names, table.columns, strict=True)
        if not holds_bytes(column.type)
    ]
    return [_record([(name, values[i]) for name, values in columns], f"{first}_{i:08d}") for i in range(table.num_rows)]


def _unfolded(column: pa.ChunkedArray) -> list[Any]:
    """The column `metadata` of clip-retrieval: objects, where its JSON texts or structs are objects."""
    values = []
    for value in plain_column(column):
        try:
            fields = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            fields = value
        values.append(fields if isinstance(fields, dict) else value)
    return values


def _record(fields: list[tuple[str, Any]], default_key: str) -> Record:
    """A row of the source's metadata: diantu's columns, then the others; see `further_columns` for their names."""
    nested = [(name, value) for name, value in fields if isinstance(value, dict)]
    fields = [(name, value) for name, value in fields if not isinstance(value, dict)]
    fields += [(name, plain(value)) for _, value in nested for name, value in value.items()]
    first: dict[str, Any] = {}
    for name, value in fields:  # the columns of the table come before those of its JSON
        if first.get(name) is None:
            first[name] = value
    ours: dict[str, Any] = dict.fromkeys(COLUMNS)
    caption = find_caption(name for name, value in first.items() if _texts(value))
    captions = [] if caption is None else _texts(first[caption])
    ours["caption"] = captions[0] if captions else None
    url, path = (_text(first, column) for column in ("url", "image_path"))
    ours |= {"url": url, "image_path": path, "key": _text(first, "key") or _stem(path) or default_key}
    if caption is not None and caption.lower() in NAMES["caption"]:  # `caption_en` stays a column of its own, too
        fields.remove((caption, first[caption]))
    for column in ("width", "height"):
        name = _spelling(first, column)
        if name is not None and (number := _whole(first[name])) is not None:
            ours[column] = number
            fields.remove((name, first[name]))
    if len(captions) > 1:
        fields.append(("captions", captions))
    return {**ours, **further_columns(ours, fields)}


def _spelling(fields: Mapping[str, Any], name: str) -> str | None:
    """How a row spells one of diantu's columns; `width` comes before `WIDTH`."""
    return name if name in fields else next((other for other in fields if other.lower() == name), None)


def _text(fields: Mapping[str, Any], column: str) -> str | None:
    """A field as text; None if it is missing or blank. 0 is no missing value."""
    name = _spelling(fields, column)
    value = None if name is None else fields[name]
    return None if value is None else as_text(value).strip() or None


def _texts(value: Any) -> list[str]:
    """The captions in a field: a text, or a list of them, each once; a number is a text here."""
    texts = (as_text(item).strip() for item in (value if isinstance(value, list) else [value]) if item is not None)
    return list(dict.fromkeys(text for text in texts if text))


def _whole(value: Any) -> int | None:
    """A number of pixels, which some tables hold as a float or as text; None if the value is none."""
    if isinstance(value, bool):  # an int, for Python
        return None
    try:
        number = int(value) if isinstance(value, (int, str, float, Decimal)) else None
    except (ValueError, OverflowError):
        return None
    if number is None or not 0 <= number < _MOST_PIXELS:
        return None
    return number if (str(number) == value.strip() if isinstance(value, str) else number == value) else None


def _stem(image_path: str | None) -> str | None:
    return (image_path.rpartition("/")[2].rsplit(".", 1)[0] or None) if image_path else None

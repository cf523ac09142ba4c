"""Entries of a scanned shard → samples. Readers only find where the bytes lie; reading them is the same for all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import fsspec

from .errors import Reason, SampleError, ShardError
from .names import CAPTION_COLUMNS
from .readers import parquet
from .text import decode_text
from .types import Entry, Sample, Span


def read_span(span: Span) -> bytes:
    """Reads the bytes of a span. Stateless, so any number of threads and processes may do it.

    Raises:
        OSError: if the file is missing, or shorter than the span says.
    """
    if span.data is not None:
        return span.data
    if span.column is not None and span.row is not None:
        return parquet.read_cell(span.uri, span.column, span.row)
    filesystem, path = fsspec.core.url_to_fs(span.uri)
    if span.offset is None or span.length is None:
        return filesystem.cat_file(path)
    data = filesystem.cat_file(path, start=span.offset, end=span.offset + span.length) if span.length else b""
    if len(data) != span.length:
        raise OSError(f"{span.uri} ends at byte {span.offset + len(data)}, {span.length - len(data)} bytes too soon")
    return data


def read_sample(entry: Entry) -> Sample:
    """Reads an entry's picture, caption and fields.

    Raises:
        SampleError: if its file cannot be read or its JSON is broken.
        ShardError: if it lies in a shard that cannot be read (any more).
    """
    try:
        image = read_span(entry.image)
        caption = decode_text(_read_optional(entry.caption)).strip()
        fields = _parse_fields(_read_optional(entry.fields))
    except OSError as error:
        if entry.image.is_inside:
            raise ShardError(f"{entry.image.uri} cannot be read: {error}", may_pass=True) from error
        raise SampleError(Reason.UNREADABLE, str(error)) from error
    fields |= {name: _scalar(value) for name, value in entry.metadata.items()}
    return Sample(
        key=entry.key,
        row=entry.row,
        image=image,
        image_path=entry.image_path,
        offset=entry.image.offset,
        length=entry.image.length,
        caption=caption or _caption_of(fields),
        metadata=fields,
    )


def _read_optional(span: Span | None) -> bytes:
    """The bytes of a file that may be absent: a folder's entries say where captions and fields would lie."""
    try:
        return read_span(span) if span else b""
    except FileNotFoundError:
        return b""


def _parse_fields(data: bytes) -> dict[str, Any]:
    if not data.strip():
        return {}
    try:
        fields = json.loads(decode_text(data))
    except (ValueError, RecursionError) as error:
        raise SampleError(Reason.BAD_METADATA, f"its .json is not valid JSON: {error}") from error
    if not isinstance(fields, dict):
        raise SampleError(Reason.BAD_METADATA, f"its .json holds a {type(fields).__name__}, an object is needed")
    return {name: _scalar(value) for name, value in fields.items()}


def _scalar(value: Any) -> Any:
    """Keeps scalars; lists and objects become JSON text, so that nothing is lost."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value


def _caption_of(fields: Mapping[str, Any]) -> str | None:
    """The caption among the fields: `caption`, `text` or `alt`, else the first `caption_…` (say `caption_en`)."""
    by_name = {name.lower(): value for name, value in fields.items() if isinstance(value, str) and value.strip()}
    for name in (*CAPTION_COLUMNS, *(name for name in by_name if name.startswith("caption_"))):
        if name in by_name:
            return by_name[name].strip()
    return None

"""Entries of a scanned shard → samples: an entry's spans are read, its JSON is parsed, its caption is chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .errors import Reason, SampleError, ShardError
from .names import find_caption
from .readers.formats import read_span
from .text import decode_text
from .types import Entry, Sample, Span
from .values import as_text, plain


def read_sample(entry: Entry) -> Sample:
    """Reads an entry's image, caption and fields.

    Raises:
        SampleError: if its file cannot be read or its JSON is broken.
        ShardError: if the shard that it is in cannot be read.
    """
    try:
        image = read_span(entry.image)
        caption = decode_text(_read_optional(entry.caption)).strip()
        fields = _parse_fields(_read_optional(entry.fields))
    except OSError as error:
        if entry.image.is_inside:
            raise ShardError(f"{entry.image.uri} cannot be read: {error}", may_pass=True) from error
        raise SampleError(Reason.UNREADABLE, str(error)) from error
    fields |= {name: plain(value) for name, value in entry.metadata.items()}
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
    """The bytes of a file that may not exist: a folder's entries say where captions and fields would be."""
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
        raise SampleError(Reason.BAD_METADATA, f"its .json holds a {type(fields).__name__}; it must hold an object")
    # A list stays JSON text here, as it has always been; in a table with types it is a list.
    return {name: as_text(value) if isinstance(value, list) else plain(value) for name, value in fields.items()}


def _caption_of(fields: Mapping[str, Any]) -> str | None:
    """The caption among the fields: see `names.find_caption`; fields without text do not count."""
    name = find_caption(name for name, value in fields.items() if isinstance(value, str) and value.strip())
    return fields[name].strip() if name else None

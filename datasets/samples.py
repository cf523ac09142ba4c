"""Entries of a scanned shard → samples: an entry's spans are read, its JSON is parsed, its captions are chosen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .encodings import decode_text
from .errors import Reason, SampleError, ShardError, first_line
from .names import find_caption, may_be_caption
from .places import resolve
from .readers.formats import read_span
from .text import parse_json, valid_text
from .types import Entry, Sample, Span
from .values import as_text, plain

# Text and JSON beside an image are short; a larger file is something else, and must not fill the memory.
_MOST_SIDECAR_BYTES = 16 << 20
# The field with all captions of an image that has several.
CAPTIONS = "captions"


def read_sample(entry: Entry) -> Sample:
    """Reads an entry's image, captions and fields. What cannot be read beside the image is left out with a note.

    Captions are the text beside the image, the field `caption` (or what `names.find_caption` finds) and the field
    `captions`; each may be a text or a list of texts.

    Raises:
        SampleError: if its image cannot be read.
        ShardError: if the shard that it is in cannot be read.
    """
    notes: list[str] = []
    try:
        image = read_span(entry.image)
    except OSError as error:
        if entry.image.is_inside:
            raise _unreadable(entry.image, error) from error
        raise SampleError(Reason.UNREADABLE, str(error)) from error
    text = decode_text(_read_beside(entry.caption, ".txt", notes), entry.encoding).strip()
    raw = decode_text(_read_beside(entry.fields, ".json", notes), entry.encoding)
    fields = _parse_fields(raw, notes)
    further = {valid_text(name): value for name, value in entry.metadata.items()}
    captions = _captions(text, fields | further)
    # A list in JSON stays JSON text, as it has always been; in a table with types it is a list.
    stored = {name: as_text(value) if isinstance(value, list) else plain(value) for name, value in fields.items()}
    stored |= {name: plain(value) for name, value in further.items()}
    metadata = {
        name: stored[name] for name, value in (fields | further).items() if not _is_taken_over(name, value, captions)
    }
    if len(captions) > 1:
        metadata[CAPTIONS] = captions
    return Sample(
        key=entry.key,
        row=entry.row,
        image=image,
        image_path=entry.image_path,
        offset=entry.image.offset,
        length=entry.image.length,
        caption=captions[0] if captions else None,
        metadata=metadata,
        notes=tuple(notes),
    )


def _read_beside(span: Span | None, what: str, notes: list[str]) -> bytes:
    """The bytes of a file beside the image; empty if there is none, or with a note if it cannot be read."""
    if span is None:
        return b""
    try:
        if _size(span) > _MOST_SIDECAR_BYTES:
            notes.append(f"its {what} is larger than {_MOST_SIDECAR_BYTES >> 20} MB")
            return b""
        return read_span(span)
    except FileNotFoundError:
        return b""
    except SampleError as error:
        notes.append(f"its {what} cannot be read: {error.detail}")
        return b""
    except OSError as error:
        if span.is_inside:
            raise _unreadable(span, error) from error
        notes.append(f"its {what} cannot be read: {error.strerror or first_line(error)}")
        return b""


def _size(span: Span) -> int:
    if span.data is not None:
        return len(span.data)
    if span.is_inside:
        return span.length or 0
    filesystem, path = resolve(span.uri)
    return filesystem.size(path) or 0


def _unreadable(span: Span, error: OSError) -> ShardError:
    return ShardError(f"{span.uri} cannot be read: {error}", may_pass=True)


def _parse_fields(text: str, notes: list[str]) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        fields = parse_json(text)
    except ValueError:
        notes.append("its .json is not valid JSON")  # without the place, so that equal notes are counted together
        return {}
    if not isinstance(fields, dict):
        notes.append(f"its .json holds a {type(fields).__name__} and no object")
        return {}
    return fields


def _captions(text: str, fields: Mapping[str, Any]) -> list[str]:
    """All captions, each once: the text beside the image, then those among the fields."""
    possible = {name: value for name, value in fields.items() if name.lower() == CAPTIONS or may_be_caption(name)}
    with_texts = {name: texts for name, value in possible.items() if (texts := list(_texts(value)))}
    all_of_them = next((with_texts.pop(name) for name in [*with_texts] if name.lower() == CAPTIONS), [])
    main = find_caption(with_texts)
    # A text beside the image counts more than a field such as `text` or `caption_en`, which stays a column of its own.
    further = with_texts[main] if main and (not text or main.lower() == "caption") else []
    return list(dict.fromkeys([*([text] if text else []), *further, *all_of_them]))


def _is_taken_over(name: str, value: Any, captions: list[str]) -> bool:
    """Whether a field is a list of captions (or none at all); all of them are in the column `captions` then."""
    if name.lower() == CAPTIONS and not value:
        return True
    texts = set(_texts(value)) if isinstance(value, (list, tuple)) or name.lower() == CAPTIONS else set()
    return bool(texts) and texts.issubset(captions)


def _texts(value: Any) -> Iterator[str]:
    """The texts of a field, or of a list of texts; numbers are texts here, because a caption may be `2023`."""
    for each in value if isinstance(value, (list, tuple)) else [value]:
        if type(each) is int:
            yield str(each)
        elif isinstance(each, (str, int, float)):
            text = valid_text(each if isinstance(each, str) else json.dumps(each)).strip()
            if text and each == each:  # no NaN
                yield text

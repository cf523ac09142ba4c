"""Queries as the service reads them, and its answers as hits."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...datasets.decoding import read_file
from ..answer import NEEDED
from ..hits import OWN_FIELDS, Asked, Hit, Hits
from ..options import Options
from ..query import QueryPart
from .transport import Transport

# The sizes of thumbnails that a service makes, in pixels.
_SMALLEST, _LARGEST = 32, 2048


def terms(parts: Sequence[QueryPart]) -> dict[str, list[Any]]:
    """The parts of a query as fields of a request."""
    found: dict[str, list[Any]] = {}
    for part in parts:
        name = "negatives" if part.weight < 0 else f"{part.kind}s"
        found.setdefault(name, []).append({part.kind: _value(part), "weight": abs(part.weight)})
    return found


def _value(part: QueryPart) -> Any:
    if part.kind == "image":
        return base64.b64encode(_file(part)).decode()
    return np.asarray(part.value, np.float32).tolist() if part.kind == "vector" else part.value


def _file(part: QueryPart) -> bytes:
    """The image of a query as a file: its own where it has one, because that is smaller."""
    given = part.given
    if isinstance(given, (str, Path)):
        return read_file(given)
    if isinstance(given, (bytes, bytearray, memoryview)):
        return bytes(given)
    buffer = io.BytesIO()
    Image.fromarray(part.value).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def changed(options: Options) -> dict[str, Any]:
    """The options that are not as they are by default."""
    given = {field.name: getattr(options, field.name) for field in fields(options)}
    found = {field.name: given[field.name] for field in fields(options) if given[field.name] != field.default}
    return found | ({"columns": list(found["columns"])} if "columns" in found else {})


@dataclass(frozen=True, slots=True)
class ServedImage:
    """The image of a row that a service has; a source of `search.pixels`."""

    transport: Transport
    gallery: str
    row: int
    part: str

    def read(self, metadata: Mapping[str, Any], size: int | None) -> bytes:
        """See `ImageSource.read`: the service makes smaller copies."""
        del metadata
        which = {"gallery": self.gallery, "part": self.part}
        if size is None or size > _LARGEST:
            return self.transport.image(f"/v1/rows/{self.row}/image", **which)
        return self.transport.image(f"/v1/rows/{self.row}/thumbnail", size=str(max(size, _SMALLEST)), **which)


def hits(
    answer: Mapping[str, Any], parts: Sequence[QueryPart], options: Options, names: Sequence[str], transport: Transport
) -> Hits:
    """The answer to one query.

    Args:
        answer: what the service said.
        parts: the parts of the query.
        options: what was asked for.
        names: the columns of the gallery.
        transport: fetches the images of the hits.
    """
    shown = [name for name in names if is_shown(name, options.columns) or name in NEEDED]
    return Hits(
        query=Asked.of(parts),
        hits=tuple(_hit(hit, answer["gallery"], shown, transport) for hit in answer["hits"]),
        took_ms=answer["took_ms"],
        folding=options.fold_duplicates,
        explain=answer["explain"],
    )


def _hit(hit: Mapping[str, Any], gallery: str, names: Sequence[str], transport: Transport) -> Hit:
    row, score = hit["row"], hit["score"]
    return Hit(
        row=row, rank=hit["rank"], score=float("nan") if score is None else score, zscore=hit["zscore"], key=hit["key"],
        caption=hit["caption"], folded=hit.get("folded", 0), source=ServedImage(transport, gallery, row, hit["part"]),
        metadata=record(hit, names),
    )  # fmt: skip


def is_shown(name: str, columns: Sequence[str] | None) -> bool:
    """Whether a column is among those that are asked for."""
    return columns is None or name.lower() in map(str.lower, columns)


def record(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The metadata of a row with its empty columns, which answers leave out.

    Args:
        row: a hit or a row of an answer.
        names: columns that it has.
    """
    given = {"key": row["key"], "caption": row["caption"], **row["metadata"]}
    present = {name.lower() for name in given}
    empty = {name: None for name in names if name.lower() not in present and name.lower() not in OWN_FIELDS}
    order = {name.lower(): place for place, name in enumerate(names)}
    found = {**given, **empty}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0].lower(), len(order))))

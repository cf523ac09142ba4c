"""Rows: their metadata, images and thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from ....datasets.decoding.formats import MEDIA_TYPES, media_type
from ...hits import metadata_json
from ..bodies import read_json
from ..context import context_of, json_bytes
from ..documentation import body, problems
from ..images import attachment, original, thumbnail
from ..models.rows import RowOut, RowsRequest, RowsResponse
from ..problems import ProblemError
from ..served import Opened

router = APIRouter(prefix="/v1", tags=["rows"])

_RowId = Annotated[int, Path(ge=0, le=2**63 - 1, description="row id", examples=[17])]
_Gallery = Annotated[str | None, Query(description="the name of a served gallery; by default the first one")]
_Part = Annotated[
    str | None,
    Query(
        max_length=100,
        description="the `part` of the hit or row: the answer may then be kept for ever, and is 410 if the row id has "
        "another image now",
    ),
]
_PROBLEMS = problems(404, 410, 429, 503, 504)
_IMAGE = {"schema": {"type": "string", "format": "binary"}}
_NOT_MODIFIED = {304: {"description": "The image that the client has is the present one"}}
_ANY_IMAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The image",
        "content": dict.fromkeys([*(kind for kind, _ in MEDIA_TYPES.values()), "application/octet-stream"], _IMAGE),
    }
}
_JPEG: dict[int | str, dict[str, Any]] = {200: {"description": "The thumbnail", "content": {"image/jpeg": _IMAGE}}}
_FOREVER, _ASK_AGAIN = "private, max-age=31536000, immutable", "no-cache"


@router.get("/rows/{row}", response_model=RowOut, responses=_PROBLEMS)
async def read_row(
    request: Request,
    row: _RowId,
    gallery: _Gallery = None,
    columns: Annotated[
        list[Annotated[str, Field(max_length=200)]] | None,
        Query(max_length=16, description="the columns of metadata, at most 16; by default all"),
    ] = None,
    with_vector: Annotated[bool, Query(description="whether the row has its vector")] = False,
) -> Response:
    """The metadata of a row."""
    context = context_of(request)
    opened = context.opened(gallery)

    def answer() -> bytes:
        return json_bytes(_rows(opened, [row], columns, with_vectors=with_vector)[0])

    return Response(await context.run(request, answer), media_type="application/json")


@router.post(
    "/rows",
    response_model=RowsResponse,
    openapi_extra=body(RowsRequest),
    responses={**_PROBLEMS, **problems(408, 415)},
)
async def read_rows(request: Request) -> Response:
    """The metadata of several rows."""
    context = context_of(request)
    asked = await read_json(request, RowsRequest)
    opened = context.opened(asked.gallery)

    def answer() -> bytes:
        rows = _rows(opened, asked.rows, asked.columns, with_vectors=asked.with_vectors)
        return json_bytes({"gallery": opened.name, "version": opened.version, "rows": rows})

    return Response(await context.run(request, answer), media_type="application/json")


@router.get("/rows/{row}/image", response_class=Response, responses={**_ANY_IMAGE, **_NOT_MODIFIED, **_PROBLEMS})
async def read_image(request: Request, row: _RowId, gallery: _Gallery = None, part: _Part = None) -> Response:
    """The original image of a row, byte for byte."""
    context = context_of(request)
    opened = context.opened(gallery)

    def answer() -> Response:
        headers = _cache_headers(opened, row, part, "image")
        if _is_known(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        data = original(context, opened, row)
        if (kind := media_type(data)) is not None:
            return Response(data, headers=headers, media_type=kind[0])
        # Whatever else lies there, a browser must not take it for a page or a script.
        return Response(data, headers=headers | attachment(f"{row}.bin"), media_type="application/octet-stream")

    return await context.run(request, answer)


@router.get("/rows/{row}/thumbnail", response_class=Response, responses={**_JPEG, **_NOT_MODIFIED, **_PROBLEMS})
async def read_thumbnail(
    request: Request,
    row: _RowId,
    gallery: _Gallery = None,
    size: Annotated[int, Query(ge=32, le=2048, description="pixels, the most in width and height")] = 256,
    part: _Part = None,
) -> Response:
    """A row's image as JPEG, at most `size` pixels wide and high."""
    context = context_of(request)
    opened = context.opened(gallery)

    def answer() -> Response:
        headers = _cache_headers(opened, row, part, str(size))
        if _is_known(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return Response(thumbnail(context, opened, row, size), headers=headers, media_type="image/jpeg")

    return await context.run(request, answer)


def _rows(
    opened: Opened, rows: Sequence[int], columns: Sequence[str] | None, *, with_vectors: bool
) -> list[dict[str, Any]]:
    """Rows as `RowOut` describes them."""
    wanted = None if columns is None else [*columns, "key", "caption"]
    records = opened.gallery.rows(rows, columns=wanted)
    found = [
        {
            "gallery": opened.name,
            "row": row,
            "part": part,
            "key": record["key"],
            "caption": record["caption"],
            "metadata": metadata_json(record),
        }
        for row, part, record in zip(rows, opened.parts(rows), records, strict=True)
    ]
    if with_vectors:
        for row, emb_D in zip(found, opened.gallery.vectors(rows), strict=True):
            row["vector"] = emb_D.tolist()
    return found


def _cache_headers(opened: Opened, row: int, part: str | None, what: str) -> dict[str, str]:
    """The headers by which a client keeps an image.

    Raises:
        RowError: if there is no such row.
        ProblemError: 410 if the row is in another part.
    """
    opened.gallery.check_rows([row])
    (now,) = opened.parts([row])
    if part not in (None, now):
        raise ProblemError(410, f"row {row} has another image now, because the gallery was compacted; search again")
    return {"ETag": f'"{now}-{row}-{what}"', "Cache-Control": _ASK_AGAIN if part is None else _FOREVER}


def _is_known(request: Request, etag: str) -> bool:
    """Whether the client has this image already (RFC 9110, If-None-Match)."""
    known = request.headers.get("if-none-match", "").split(",")
    return any(each.strip().removeprefix("W/") in (etag, "*") for each in known)

"""Downloads of chosen rows: their metadata as JSONL or CSV, or their original images in a zip archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ..bodies import read_json
from ..context import context_of
from ..documentation import body, problems
from ..exports import FORMATS
from ..images import attachment
from ..models.rows import ExportRequest
from ..problems import ProblemError

router = APIRouter(prefix="/v1", tags=["rows"])

_FILE = {"schema": {"type": "string", "format": "binary"}}


@router.post(
    "/export",
    response_class=Response,
    openapi_extra=body(ExportRequest),
    responses={
        200: {"description": "The file", "content": {each.media_type: _FILE for each in FORMATS.values()}},
        **problems(404, 408, 410, 415, 429, 503, 504),
    },
)
async def export(request: Request) -> Response:
    """A file of chosen rows. It is sent while it is written."""
    context = context_of(request)
    asked = await read_json(request, ExportRequest)
    opened = context.opened(asked.gallery)
    rows = list(dict.fromkeys(asked.rows))
    opened.gallery.check_rows(rows)
    chosen = FORMATS[asked.format]
    if not context.exports.acquire(blocking=False):
        raise ProblemError(429, "too many exports run already; try again in 5 s", {"Retry-After": "5"})
    chunks = chosen.write(context, opened, rows)
    headers = attachment(f"{opened.name}.{asked.format}")
    return _Export(chunks, context.exports.release, headers=headers, media_type=chosen.media_type)


class _Export(StreamingResponse):
    """A file that is written while it is sent."""

    def __init__(self, chunks: Iterator[bytes], on_end: Callable[[], None], **options: Any) -> None:
        """`on_end` is called when it is sent, or the client has gone away."""
        super().__init__(chunks, **options)
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()

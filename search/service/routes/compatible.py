"""The routes of clip-retrieval's back end, for its clients: its Python client, its page, and programs that call them.

Its client sends JSON without a Content-Type and its page sends it as text/plain, so the body is read whatever it is
called. Paths with two slashes are those with one.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ..bodies import parsed
from ..compatible import ignored, is_deleted, metadata_of, query_of, results_of, summary
from ..context import context_of, json_bytes, json_response
from ..documentation import body, problems
from ..models.compatible import ConfigOut, IdsRequest, KnnRequest
from ..queries import host_of

router = APIRouter(tags=["clip-retrieval"])

_IGNORED = "X-Diantu-Ignored"  # names the fields of a request that changed nothing
_PROBLEMS = problems(403, 404, 408, 410, 429, 503, 504)


@router.get("/indices-list", response_model=list[str])
async def indices_list(request: Request) -> Response:
    """The names of all galleries."""
    return json_response(list(context_of(request).galleries))


@router.get("/config.json", response_model=ConfigOut)
async def config(request: Request) -> Response:
    """Where clip-retrieval's page finds this service."""
    first = next(iter(context_of(request).galleries))
    return json_response({"defaultBackend": str(request.base_url), "defaultIndex": first, "urlColumn": "url"})


@router.post("/knn-service", response_model=list[dict[str, Any]], openapi_extra=body(KnnRequest), responses=_PROBLEMS)
async def knn_service(request: Request) -> Response:
    """The images, or captions, nearest to a text, an image or a vector."""
    context = context_of(request)
    asked = parsed(await request.body(), KnnRequest)
    opened = context.opened(asked.indice_name or None)

    def answer() -> Response:
        query = query_of(asked, opened, context, host_of(request))
        found = json_bytes(results_of(asked, query, opened, context, str(request.base_url)))
        unused = ignored(asked, opened)
        return Response(found, headers={_IGNORED: ", ".join(unused)} if unused else None, media_type="application/json")

    return await context.run(request, answer)


@router.post("/metadata", response_model=list[dict[str, Any]], openapi_extra=body(IdsRequest), responses=_PROBLEMS)
async def metadata(request: Request) -> Response:
    """The metadata of rows; that of a row which was deleted is empty."""
    context = context_of(request)
    asked = parsed(await request.body(), IdsRequest)
    if not asked.ids:
        return json_response([])
    opened = context.opened(asked.indice_name or None)
    ids = [int(row) for row in asked.ids]  # a page that reads large numbers exactly sends them as texts

    def answer() -> bytes:
        present = [row for row in dict.fromkeys(ids) if not is_deleted(row, opened)]
        found = dict(zip(present, metadata_of(present, opened, context, str(request.base_url)), strict=True))
        return json_bytes([{"id": row, "metadata": found.get(row, {})} for row in ids])

    return Response(await context.run(request, answer), media_type="application/json")


@router.get(
    "/metrics-summary",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics_summary(request: Request) -> Response:
    """How many searches of clip-retrieval's clients there were, and how long their steps took, for people."""
    return Response(summary(context_of(request).metrics), media_type="text/plain")

"""Searches: one query, or several with the same options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ...hits import Hits
from ..bodies import Uploads, read_json, read_json_or_form
from ..context import Context, context_of, json_bytes
from ..documentation import body, problems
from ..models.searches import BatchRequest, BatchResponse, Options, SearchRequest, SearchResponse
from ..problems import ProblemError
from ..queries import host_of, query_of
from ..served import Opened

router = APIRouter(prefix="/v1", tags=["search"])

_PROBLEMS = problems(403, 404, 408, 410, 415, 429, 503, 504)
_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}}
_FORM = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {
                "request": {"$ref": "#/components/schemas/SearchRequest"},
                "image": {"type": "string", "format": "binary"},
                "images": _FILES,
                "negative_images": _FILES,
            },
            "additionalProperties": False,
        },
        "encoding": {"request": {"contentType": "application/json"}},
    }
}
# Fields of a request that are not options of `Gallery.search`.
_NOT_OPTIONS = {"gallery", "queries", "with_vectors"}


@router.post("/search", response_model=SearchResponse, openapi_extra=body(SearchRequest, _FORM), responses=_PROBLEMS)
async def search(request: Request) -> Response:
    """The rows of a gallery that are most similar to a text, an image, a vector, rows, or a mix of them."""
    context = context_of(request)
    asked, uploads = await read_json_or_form(request, SearchRequest)

    def answer(opened: Opened) -> bytes:
        query = query_of(asked, uploads, opened, context, host_of(request))
        hits = opened.gallery.search(query, **options_of(asked, context))
        context.metrics.observe_search(hits.explain["ms"])
        return json_bytes(answer_of(hits, opened, asked))

    found = await context.run(request, context.galleries.answer, asked.gallery, answer)
    return Response(found, media_type="application/json")


@router.post("/search/batch", response_model=BatchResponse, openapi_extra=body(BatchRequest), responses=_PROBLEMS)
async def search_batch(request: Request) -> Response:
    """Several queries with the same options: they are encoded and searched together."""
    context = context_of(request)
    asked = await read_json(request, BatchRequest)

    def answer(opened: Opened) -> bytes:
        queries = [query_of(terms, Uploads(), opened, context, host_of(request)) for terms in asked.queries]
        answers = opened.gallery.search_many(queries, **options_of(asked, context))
        for hits in answers:
            context.metrics.observe_search(hits.explain["ms"])
        return json_bytes({"answers": [answer_of(hits, opened, asked) for hits in answers]})

    found = await context.run(request, context.galleries.answer, asked.gallery, answer)
    return Response(found, media_type="application/json")


def options_of(asked: Options, context: Context) -> dict[str, Any]:
    """The options of `Gallery.search`.

    Raises:
        ProblemError: 400 if a limit of the service is exceeded.
    """
    if asked.k > context.settings.max_k:
        raise ProblemError(400, f"k is {asked.k}; this service gives at most {context.settings.max_k} hits")
    options = {name: getattr(asked, name) for name in Options.model_fields if name not in _NOT_OPTIONS}
    if options["where_timeout"] is None:
        del options["where_timeout"]
    else:
        options["where_timeout"] = min(options["where_timeout"], context.settings.deadline)
    if options["over"] == "images":
        del options["over"]
    return options


def answer_of(hits: Hits, opened: Opened, asked: Options) -> dict[str, Any]:
    """The answer to one query as `SearchResponse` describes it."""
    answer = hits.to_json()
    rows = [hit.row for hit in hits]
    _add(answer["hits"], "part", opened.parts(rows))
    if asked.with_vectors and rows:
        _add(answer["hits"], "vector", opened.gallery.vectors(rows, space=asked.space).tolist())
    return {"gallery": opened.name, "version": opened.version, **answer}


def _add(hits: Sequence[dict[str, Any]], name: str, values: Sequence[Any]) -> None:
    for hit, value in zip(hits, values, strict=True):
        hit[name] = value

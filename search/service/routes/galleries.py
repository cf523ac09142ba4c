"""What is served: galleries, their spaces, and what their columns hold."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from ..context import Context, context_of, json_bytes
from ..documentation import problems
from ..models.galleries import GalleriesOut, GalleryOut
from ..served import Opened

router = APIRouter(prefix="/v1", tags=["galleries"])


@router.get("/galleries", response_model=GalleriesOut, responses=problems(429, 503, 504))
async def galleries(request: Request) -> Response:
    """All galleries that are served; the first is the default."""
    context = context_of(request)
    opened = [context.opened(name) for name in context.galleries]

    def answer() -> bytes:
        return json_bytes({"galleries": [_described(context, each) for each in opened]})

    return Response(await context.run(request, answer), media_type="application/json")


@router.get("/galleries/{name}", response_model=GalleryOut, responses=problems(404, 429, 503, 504))
async def gallery(
    request: Request, name: Annotated[str, Path(description="of a served gallery", examples=["demo"])]
) -> Response:
    """One gallery that is served."""
    context = context_of(request)
    opened = context.opened(name)

    def answer() -> bytes:
        return json_bytes(_described(context, opened))

    return Response(await context.run(request, answer), media_type="application/json")


def _described(context: Context, opened: Opened) -> dict[str, Any]:
    """A gallery as `GalleryOut` describes it."""
    gallery, facets = opened.gallery, context.facets.of(opened)
    known = {facet.name: facet.to_json() for facet in facets.columns} if facets else {}
    return {
        "name": opened.name,
        "rows": len(gallery),
        "version": opened.version,
        "encoder": gallery.spec.name,
        "spaces": [
            {"name": spec.name, "dim": spec.dim, "has_text": gallery.has_texts(spec.name)}
            for spec in opened.snapshot.manifest.encoders
        ],
        "over": gallery.over,
        "has_duplicates": gallery.duplicates is not None,
        "has_zscores": gallery.has_zscores,
        "names": gallery.columns,
        "columns_ready": facets is not None,
        "columns_rows": facets.num_rows if facets else 0,
        "columns": [known.get(name, {"name": name, "type": kind}) for name, kind in gallery.column_types.items()],
        "licences": [{"licence": licence, "count": count} for licence, count in facets.licences] if facets else [],
    }

"""Whether the service runs and is ready, and its metrics."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from ..context import context_of, json_response
from ..documentation import problems
from ..models.state import HealthOut, ReadyOut
from ..problems import ProblemError

router = APIRouter(tags=["health"])


@router.get("/healthz", response_model=HealthOut)
async def healthz() -> Response:
    """Whether the process answers."""
    return json_response({"status": "ok"})


@router.get("/readyz", response_model=ReadyOut, responses=problems(503))
async def readyz(request: Request) -> Response:
    """Whether every gallery has its model loaded and has answered one search."""
    galleries = context_of(request).galleries
    for name, served in galleries.items():
        if not served.is_ready:
            raise ProblemError(503, f"gallery {name}: {served.problem}", {"Retry-After": "1"})
    return json_response({"status": "ready", "galleries": {name: each.problem for name, each in galleries.items()}})


@router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
async def metrics(request: Request) -> Response:
    """Metrics in Prometheus's text format."""
    return Response(context_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)

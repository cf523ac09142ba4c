"""The page: static files that run in a browser under a strict policy."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parents[2] / "page"
# Texts of strangers can never become markup or code, and nothing is loaded from another host.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}


class _Files(StaticFiles):
    """Files that a browser may keep, but asks about each time: they change with the release."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response


def mount(app: FastAPI) -> None:
    """Serves the page at `/` and its files at `/page/`."""

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        del request
        return FileResponse(FOLDER / "index.html", headers=_HEADERS)

    app.mount("/page", _Files(directory=FOLDER), name="page")

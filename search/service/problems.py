"""Errors as problem documents (RFC 9457): each has the one sentence that the command line would print."""

from __future__ import annotations

import http
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ...datasets import DiantuError, InputError, display
from ...datasets.errors import FileError, PixelsError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from pydantic_core import ErrorDetails

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# Status → the kind in a problem's type, `urn:diantu:<kind>`, and its title.
KINDS = {
    400: ("invalid", "The request cannot be used"),
    401: ("unauthorized", "A token is needed"),
    403: ("forbidden", "Not allowed"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "Method not allowed"),
    406: ("not-acceptable", "Not acceptable"),
    408: ("slow-body", "The request took too long to arrive"),
    410: ("gone", "Gone"),
    413: ("too-large", "The request is too large"),
    415: ("unsupported-media-type", "Unsupported media type"),
    421: ("misdirected", "Wrong host"),
    429: ("busy", "Too many requests"),
    500: ("bug", "Internal error"),
    503: ("unavailable", "Not available"),
    504: ("deadline", "The request took too long"),
}


class ProblemError(DiantuError):
    """A refusal with a status of HTTP; the message is one sentence for users."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers


def problem_response(
    status: int, detail: str, *, instance: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """The document of a problem.

    Args:
        status: of HTTP.
        detail: one sentence for users.
        instance: the path of the request.
        headers: further headers.
    """
    kind, title = KINDS.get(status, ("", http.HTTPStatus(status).phrase))
    document = {
        "type": f"urn:diantu:{kind}" if kind else "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        **({"instance": instance} if instance else {}),
    }
    return Response(display.to_json(document), status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Makes an application answer every error with a problem document."""
    app.add_exception_handler(DiantuError, _of_diantu)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_router)
    app.add_exception_handler(MemoryError, _of_memory)
    app.add_exception_handler(Exception, _of_bug)


def sentence(errors: list[ErrorDetails] | list[Any]) -> str:
    """What pydantic complains about, in one sentence about the first field that is wrong."""
    first = errors[0]
    place = ".".join(str(each) for each in first["loc"] if each not in ("body", "query", "path", "header"))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"there is no field {place!r} in this request; see /openapi.json for its fields"
    if first["type"] == "missing":
        return f"the field {place!r} is missing" if place else "the request has no body"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{place}: {_lower(message)}{more}" if place else _lower(message) + more


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _answer(request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    return problem_response(status, " ".join(detail.split()), instance=request.url.path, headers=headers)


def _of_diantu(request: Request, error: Exception) -> Response:
    if isinstance(error, ProblemError):
        return _answer(request, error.status, str(error), error.headers)
    if isinstance(error, PixelsError):
        return _answer(request, 404, str(error))
    if isinstance(error, InputError):
        return _answer(request, 400, str(error))
    log.error("%s %s: %s", request.method, request.url.path, error)
    return _answer(request, 503 if isinstance(error, FileError) else 500, str(error))


def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _answer(request, 400, sentence(list(error.errors())))


def _of_router(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    if error.status_code == 404 and detail == "Not Found":
        detail = f"there is nothing at {request.url.path}; /openapi.json lists what the service has"
    if error.status_code == 405:
        allowed = (error.headers or {}).get("allow") or (error.headers or {}).get("Allow", "")
        detail = f"{request.method} is not possible at {request.url.path}; use {allowed or 'another method'}"
    return _answer(request, error.status_code, detail, error.headers)


def _of_memory(request: Request, error: Exception) -> Response:
    log.error("%s %s: out of memory", request.method, request.url.path)
    return _answer(request, 503, "there is not enough memory for this request; ask for less, or try again later")


def _of_bug(request: Request, error: Exception) -> Response:
    """The rest is a bug, whose traceback the server's own handler logs."""
    return _answer(request, 500, f"{type(error).__name__}: {error} (this is a bug in the service; its log has more)")

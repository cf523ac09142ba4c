"""Errors as problem documents (RFC 9457): each has the one sentence that the command line would print."""

from __future__ import annotations

import http
import logging
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ...datasets import DiantuError, InputError, display
from ...datasets.errors import FileError, PixelsError, RowError

if TYPE_CHECKING:
    from fastapi import FastAPI

log = logging.getLogger(__name__)

_SHOWN = 60  # characters of a value, or items of a list, that a sentence shows
# What is around the rule itself in a message of pydantic's.
_RULE = re.compile(r"^(Value error, )?\w+ should | after validation, not \d+")
_OBJECT = re.compile(r"a valid dictionary or instance of \w+")
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
    431: ("too-large", "The headers are too large"),
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


def sentence(errors: Sequence[Any], value: object = None) -> str:
    """What pydantic complains about, in one sentence about the first place that is wrong.

    Args:
        errors: as `ValidationError.errors` lists them, with their input.
        value: what was validated. Without it, names of pydantic's own may be among the names of fields.
    """
    # A union has an error for each alternative; the one that goes deepest is what the user meant.
    place = max((_place(error, value) for error in errors), key=lambda place: place.count("."))
    here = [error for error in errors if _place(error, value) == place]
    unknown = next((error for error in here if error["type"] == "extra_forbidden"), None)
    if unknown is not None:
        return f"there is no field {place!r} in this request; see /openapi.json for its fields"
    if here[0]["type"] == "missing":
        return f"the field {place!r} is missing; see /openapi.json for the fields" if place else "there is no body"
    allowed = dict.fromkeys(_OBJECT.sub("an object", _RULE.sub("", error["msg"])) for error in here)
    given = display.one_line(_shortened(here[0]["input"]))
    return f"{place or 'the request'} is {given}; it should {' or '.join(allowed)}"


def _place(error: Any, value: object) -> str:
    """Where an error is, without the names that pydantic gives to the alternatives of a union."""
    found = []
    for name in error["loc"]:
        if isinstance(value, dict) and (name in value or (error["type"] == "missing" and name == error["loc"][-1])):
            found.append(str(name))
            value = value.get(name)
        elif isinstance(value, list) and isinstance(name, int) and name < len(value):
            found.append(str(name))
            value = value[name]
        elif value is None and name not in ("body", "query", "path", "header"):
            found.append(str(name))
    return ".".join(found)


def _shortened(value: object) -> str:
    if isinstance(value, (dict, list)) and len(value) > _SHOWN:
        return f"a {'list' if isinstance(value, list) else 'object'} of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 1 << 64:
        return "a number of many digits"  # Python refuses to print some of them
    text = display.to_json(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _answer(request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    return problem_response(status, " ".join(detail.split()), instance=quote(request.scope["path"]), headers=headers)


def _of_diantu(request: Request, error: Exception) -> Response:
    if isinstance(error, ProblemError):
        return _answer(request, error.status, str(error), error.headers)
    if isinstance(error, RowError):
        return _answer(request, 410 if error.was_deleted else 404, str(error))
    if isinstance(error, PixelsError):
        return _answer(request, 404, str(error))
    if isinstance(error, InputError) and not request.app.state.context.galleries.is_damage(str(error)):
        return _answer(request, 400, str(error))
    log.error("%s %s: %s", request.method, request.scope["path"], error)
    return _answer(request, 503 if isinstance(error, (FileError, InputError)) else 500, str(error))


def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _answer(request, 400, sentence(list(error.errors())))


def _of_router(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    if error.status_code == 404 and detail == "Not Found":
        detail = f"there is nothing at {request.scope['path']}; /openapi.json lists what the service has"
    if error.status_code == 405:
        allowed = (error.headers or {}).get("allow") or (error.headers or {}).get("Allow", "")
        detail = f"{request.method} is not possible at {request.scope['path']}; use {allowed or 'another method'}"
    return _answer(request, error.status_code, detail, error.headers)


def _of_memory(request: Request, error: Exception) -> Response:
    log.error("%s %s: out of memory", request.method, request.scope["path"])
    return _answer(request, 503, "there is not enough memory for this request; ask for less, or try again later")


def _of_bug(request: Request, error: Exception) -> Response:
    """The rest is a bug, whose traceback the server's own handler logs."""
    return _answer(request, 500, f"{type(error).__name__}: {error} (this is a bug in the service; its log has more)")

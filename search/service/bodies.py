"""The bodies of requests: JSON or forms to models."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from ...datasets.text import parse_json
from .problems import ProblemError, sentence

M = TypeVar("M", bound=BaseModel)


async def read_json(request: Request, model: type[M]) -> M:
    """The JSON body of a request as a model.

    Raises:
        ProblemError: 415 if it is not sent as JSON, 400 if it is not JSON or has other fields or values.
    """
    kind = media_type(request)
    if kind not in ("", "application/json") and not (kind.startswith("application/") and kind.endswith("+json")):
        raise ProblemError(415, f"the body is {kind}; send application/json")
    return parsed(await request.body(), model)


def media_type(request: Request) -> str:
    """The media type of a request's body, without parameters; empty if it has none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def parsed(body: bytes | str, model: type[M]) -> M:
    """JSON as a model.

    Raises:
        ProblemError: 400 if it is not JSON or has other fields or values.
    """
    try:
        value: Any = parse_json(body if isinstance(body, str) else body.decode("utf-8-sig"))
    except ValueError as error:
        raise ProblemError(400, f"the body is not JSON in UTF-8 ({error})") from error
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ProblemError(400, sentence(error.errors(include_url=False, include_input=False))) from error

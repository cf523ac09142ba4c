"""The bodies of requests: JSON, or forms with files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import Request

from ...datasets.text import parse_json
from .problems import ProblemError, sentence

M = TypeVar("M", bound=BaseModel)

_MOST_FILES = 64
_REQUEST = "request"  # the part of a form that has the JSON
_FORM = "multipart/form-data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploads:
    """The files of a form, as encoded images.

    Attributes:
        images: what to search for.
        negative_images: what to search away from.
    """

    images: Sequence[bytes] = field(default=())
    negative_images: Sequence[bytes] = field(default=())


async def read_json_or_form(request: Request, model: type[M]) -> tuple[M, Uploads]:
    """The body of a request as a model, with files if it is a form.

    A form has the JSON in its part `request`, which may be missing, and images in `image`, `images` and
    `negative_images`.

    Raises:
        ProblemError: 415 if it is sent as something else, 400 if it cannot be used.
    """
    if media_type(request) != _FORM:
        return await read_json(request, model), Uploads()
    json: bytes | str = "{}"
    images: list[bytes] = []
    negative_images: list[bytes] = []
    async with request.form(max_files=_MOST_FILES, max_fields=_MOST_FILES, max_part_size=1 << 24) as form:
        for name, value in form.multi_items():
            content = await value.read() if isinstance(value, UploadFile) else value
            if name == _REQUEST:
                json = content
            elif name not in ("image", "images", "negative_images"):
                raise ProblemError(
                    400, f"there is no part {name!r} in this form; give request, image, images or negative_images"
                )
            elif isinstance(content, str):
                raise ProblemError(400, f"the part {name!r} of the form is not a file; send it with a file name")
            else:
                (negative_images if name == "negative_images" else images).append(content)
    return parsed(json, model), Uploads(images=images, negative_images=negative_images)


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
        raise ProblemError(400, sentence(error.errors(include_url=False), value)) from error

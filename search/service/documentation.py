"""The OpenAPI document: bodies that routes read themselves, and the problems that they answer with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .models.fields import In
from .models.state import ProblemOut
from .problems import KINDS, MEDIA_TYPE
from .settings import Settings

_REF = "#/components/schemas/{model}"
# What the guard may answer on every route.
_ALWAYS = (400, 401, 413, 421, 500)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The descriptions of problem documents, for `responses=` of a route."""
    return {
        status: {
            "description": KINDS[status][1],
            "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="ProblemOut")}}},
        }
        for status in statuses
    }


def body(model: type[BaseModel], further: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The description of a body that a route reads itself, for `openapi_extra=` of a route.

    Args:
        model: of the JSON body.
        further: other media types and their descriptions.
    """
    json = {"schema": {"$ref": _REF.format(model=model.__name__)}}
    return {"requestBody": {"required": True, "content": {"application/json": json, **(further or {})}}}


def install(app: FastAPI, settings: Settings) -> None:
    """Makes an application describe itself completely."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, settings)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _name_galleries(value: Any, names: list[str]) -> None:
    """Lists the served galleries wherever a request may name one."""
    if isinstance(value, list):
        for each in value:
            _name_galleries(each, names)
    if isinstance(value, dict):
        for each in value.values():
            _name_galleries(each, names)
        is_parameter = value.get("name") == "gallery" and "in" in value
        schema = value["schema"] if is_parameter else value.get("gallery")
        if isinstance(schema, dict) and (choices := schema.get("anyOf")):
            choices[0]["enum"] = names


def _requests(base: type[In]) -> Iterator[type[In]]:
    """All requests: the routes that read a body themselves do not name theirs to FastAPI."""
    for each in base.__subclasses__():
        yield each
        yield from _requests(each)


def _document(app: FastAPI, settings: Settings) -> dict[str, Any]:
    found = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    _, definitions = models_json_schema(
        [*((each, "validation") for each in _requests(In)), (ProblemOut, "serialization")], ref_template=_REF
    )
    for name, schema in definitions.get("$defs", {}).items():
        schemas.setdefault(name, schema)
    for name in ("SearchRequest", "BatchRequest"):
        schemas[name]["properties"]["k"]["maximum"] = settings.max_k
    _name_galleries(found, sorted(settings.galleries))
    for path in found["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            for status, description in problems(*_ALWAYS).items():
                operation["responses"].setdefault(str(status), description)
            if settings.token is not None:
                operation.setdefault("security", [{"bearer": []}])
    if settings.token is not None:
        found["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    return found

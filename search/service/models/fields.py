"""Fields and bases that requests and answers of several routes share.

Bounds that `Gallery.search` checks itself are only described, so that both give the same sentence.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Row: TypeAlias = Annotated[int, Field(ge=0, le=2**63 - 1, description="row id", examples=[17])]
Weight: TypeAlias = Annotated[
    FiniteFloat,
    Field(description="relative to the other terms", examples=[0.5], json_schema_extra={"exclusiveMinimum": 0}),
]
Text: TypeAlias = Annotated[
    str, Field(max_length=10_000, examples=["a castle by the sea"], json_schema_extra={"minLength": 1})
]
ImageText: TypeAlias = Annotated[
    str,
    Field(
        min_length=1,
        description="an image: base64, a `data:` URL, the URL of a row's image in this service, or, where the service "
        "allows it, any http(s) URL",
        examples=["/v1/rows/17/image"],
    ),
]
Vector: TypeAlias = Annotated[
    list[FiniteFloat], Field(min_length=1, max_length=65_536, description="of the space's encoder; any length")
]
GalleryName: TypeAlias = Annotated[
    str | None, Field(description="the name of a served gallery; by default the first one", examples=[None])
]
ColumnName: TypeAlias = Annotated[str, Field(max_length=1000, examples=["width"])]


class In(BaseModel):
    """The base of all requests: fields that are not known are refused, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Out(BaseModel):
    """The base of all answers."""

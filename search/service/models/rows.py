"""Rows to read and to download."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from .fields import ColumnName, GalleryName, In, Out, Row


class RowOut(Out):
    """One row of a gallery."""

    gallery: str = Field(examples=["demo"])
    row: int = Field(description="row id, 64 bits", examples=[17])
    part: str = Field(
        description="changes when the row id gets another image; for the URLs of images", examples=["9f86d081884c"]
    )
    key: str = Field(examples=["animal_panda"])
    caption: str | None = Field(examples=["a panda eats bamboo"])
    metadata: dict[str, Any] = Field(examples=[{"width": 640, "licence": "CC0-1.0"}])
    vector: list[float] | None = Field(None, description="of unit length; only where asked for")


class RowsRequest(In):
    """Rows to read."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rows": [17, 18], "columns": ["width", "licence"]}]})

    gallery: GalleryName = None
    rows: list[Row] = Field(max_length=1000)
    columns: list[ColumnName] | None = Field(
        None, max_length=1000, description="the columns of metadata; by default all"
    )
    with_vectors: bool = Field(False, description="whether rows have their vectors")


class RowsResponse(Out):
    """Rows, in the order of the request."""

    gallery: str = Field(examples=["demo"])
    version: str = Field(description="changes when the gallery does", examples=["4b227777d4dd1fc6"])
    rows: list[RowOut]


class ExportRequest(In):
    """Rows to download."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rows": [17, 18], "format": "csv"}]})

    gallery: GalleryName = None
    rows: list[Row] = Field(min_length=1, max_length=10_000, description="rows that repeat are exported once")
    format: Literal["jsonl", "csv", "zip"] = Field(
        description="`zip` has the original images, and `metadata.jsonl`, which says why an image is missing"
    )

"""What galleries hold."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .fields import Out


class SpaceOut(Out):
    """A space of vectors of the gallery's rows."""

    name: str = Field(description="of its encoder", examples=["hf:openai/clip-vit-base-patch32"])
    dim: int = Field(description="dimensions of a vector", examples=[512])
    has_text: bool = Field(description="whether texts can be searched for in it")


class ValueOut(Out):
    """A value of a column, and how many rows have it."""

    value: str
    count: int


class ColumnOut(Out):
    """What a column of the metadata holds; fields that do not apply, or are not known yet, are absent."""

    name: str = Field(examples=["width"])
    type: str = Field(description="as SQL calls it", examples=["BIGINT"])
    kind: Literal["range", "category", "flag", "color", "list", "text", "other"] | None = None
    missing: int | None = Field(None, description="rows without a value")
    min: int | float | str | None = Field(None, description="of a range; dates and timestamps in ISO 8601")
    max: int | float | str | None = None
    values: list[ValueOut] | None = Field(
        None, description="of a category or color, the most frequent first, at most 200"
    )
    true: int | None = Field(None, description="rows with true, of a flag")
    false: int | None = Field(None, description="rows with false, of a flag")


class LicenceOut(Out):
    """A licence and how many rows have it; null stands for rows without one."""

    licence: str | None = Field(examples=["CC0-1.0"])
    count: int


class GalleryOut(Out):
    """A gallery that is served."""

    name: str = Field(examples=["demo"])
    rows: int = Field(description="rows that can be found", examples=[184])
    version: str = Field(description="changes when the gallery does", examples=["4b227777d4dd1fc6"])
    encoder: str = Field(description="of the main space", examples=["conse"])
    spaces: list[SpaceOut]
    over: list[Literal["images", "captions"]] = Field(description="whose vectors a query can be compared with")
    has_duplicates: bool = Field(description="whether near-duplicates are known, so that they can be folded")
    has_zscores: bool = Field(description="whether hits have zscores")
    names: list[str] = Field(description="what conditions can name: the columns, and other names for them")
    columns_ready: bool = Field(description="whether it is known what the columns hold; ask again if not")
    columns_rows: int = Field(description="rows that the facts about columns come from: all, unless they are very many")
    columns: list[ColumnOut]
    licences: list[LicenceOut]


class GalleriesOut(Out):
    """All galleries that are served; the first is the default."""

    galleries: list[GalleryOut]

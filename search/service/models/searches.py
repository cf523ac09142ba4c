"""Searches and their hits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, FiniteFloat

from .fields import ColumnName, GalleryName, ImageText, In, Out, Row, Text, Vector, Weight

_MOST_TERMS = 64


class TextTerm(In):
    """A text with its weight."""

    text: Text
    weight: Weight = 1.0


class ImageTerm(In):
    """An image with its weight."""

    image: ImageText
    weight: Weight = 1.0


class VectorTerm(In):
    """A vector with its weight."""

    vector: Vector
    weight: Weight = 1.0


class RowTerm(In):
    """A row of the gallery with its weight."""

    row: Row
    weight: Weight = 1.0


class NegativeText(In):
    """A text to search away from."""

    text: Text
    weight: Weight = 0.5


class NegativeImage(In):
    """An image to search away from."""

    image: ImageText
    weight: Weight = 0.5


class Terms(In):
    """What to search for: any mix of texts, images, vectors and rows of the gallery, and of negative terms."""

    text: Text | None = None
    image: ImageText | None = None
    vector: Vector | None = Field(None, examples=[None])
    texts: list[Text | TextTerm] = Field([], max_length=_MOST_TERMS)
    images: list[ImageText | ImageTerm] = Field([], max_length=_MOST_TERMS)
    vectors: list[Vector | VectorTerm] = Field([], max_length=_MOST_TERMS)
    rows: list[Row | RowTerm] = Field([], max_length=1000)
    negatives: list[Text | NegativeText | NegativeImage] = Field([], max_length=_MOST_TERMS)


class Options(In):
    """The options of a search, as `diantu.search.Gallery.search` describes them."""

    k: int = Field(
        12,
        description="number of hits; fewer if fewer rows qualify",
        examples=[12],
        json_schema_extra={"minimum": 1},  # the maximum is a setting
    )
    offset: int = Field(0, le=1_000_000, description="number of hits to skip", json_schema_extra={"minimum": 0})
    where: str | None = Field(
        None, max_length=10_000, description="a SQL condition over the metadata", examples=["width >= 512"]
    )
    missing: str = Field(
        "exclude",
        description="what to do with rows for which a value of the condition is missing",
        json_schema_extra={"enum": ["exclude", "include"]},
    )
    where_timeout: FiniteFloat | None = Field(
        None, gt=0, description="seconds that the condition may take for each million rows; the service has a limit"
    )
    effort: (
        Annotated[str, Field(json_schema_extra={"enum": ["fast", "balanced", "exact"]})]
        | Annotated[FiniteFloat, Field(json_schema_extra={"exclusiveMinimum": 0, "maximum": 1})]
    ) = Field(
        "balanced", description="how much of the index is searched, or the recall to reach", examples=["balanced", 0.98]
    )
    space: str | None = Field(
        None, max_length=1000, description="search the vectors of this encoder", examples=["dinov2"]
    )
    over: Literal["images", "captions"] = Field("images", description="whose vectors are compared with the query")
    rerank: str | None = Field(
        None, max_length=1000, description="sort the nearest rows by their similarity in this other space"
    )
    diversity: FiniteFloat = Field(
        0.0,
        description="prefer rows that differ from the rows before them",
        json_schema_extra={"minimum": 0, "maximum": 1},
    )
    fold_duplicates: bool = Field(False, description="of each group of near-duplicates return only the best row")
    min_score: FiniteFloat | None = Field(None, description="leave out rows below this score")
    min_zscore: FiniteFloat | None = Field(None, description="leave out rows below this zscore")
    sort_by: str | None = Field(
        None, max_length=1000, description="a column to sort the nearest rows by; descending with a minus before it"
    )
    aesthetic: FiniteFloat = Field(0.0, description="add this times a tenth of a row's aesthetic score to its score")
    window: int | None = Field(
        None, ge=1, le=10_000, description="number of nearest rows that are reordered; by default 100, or ten times k"
    )
    columns: list[ColumnName] | None = Field(
        None, max_length=1000, description="the columns of metadata that hits have; by default all"
    )
    with_vectors: bool = Field(False, description="whether hits have their vectors")


class SearchRequest(Terms, Options):
    """One query with its options."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "大熊猫", "k": 5},
                {"texts": ["a castle", {"text": "by the sea", "weight": 0.5}], "negatives": ["people"]},
                {"rows": [17], "where": "aspect > 1.2", "diversity": 0.3},
            ]
        }
    )

    gallery: GalleryName = None


class BatchRequest(Options):
    """Several queries with the same options."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"queries": [{"text": "koala"}, {"text": "考拉"}]}]})

    gallery: GalleryName = None
    queries: list[Terms] = Field(min_length=1, max_length=64)


class HitOut(Out):
    """One hit: a row of the gallery, with its score and metadata."""

    rank: int = Field(description="position among the hits, from 1", examples=[1])
    row: int = Field(description="row id, 64 bits", examples=[17])
    key: str = Field(examples=["animal_panda"])
    score: float | None = Field(description="cosine similarity; higher is better", examples=[0.31])
    zscore: float | None = Field(description="by how many standard deviations the score is unusual", examples=[5.2])
    caption: str | None = Field(examples=["a panda eats bamboo"])
    folded: int | None = Field(None, description="near-duplicates that the hit stands for; only where they are folded")
    part: str = Field(
        description="changes when the row id gets another image; for the URLs of images", examples=["9f86d081884c"]
    )
    metadata: dict[str, Any] = Field(examples=[{"width": 640, "licence": "CC0-1.0"}])
    vector: list[float] | None = Field(None, description="of unit length; only where asked for")


class ExplainOut(Out):
    """How the hits were found; fields that do not apply are absent."""

    space: str
    effort: str | float
    strategy: Literal["exact", "index", "exact_lists", "index_lists"]
    ms: dict[str, float] = Field(description="milliseconds of each stage")
    compared: int | None = None
    breadth: int | None = None
    candidates: int | None = None
    where: str | None = None
    missing: Literal["exclude", "include"] | None = None
    rows: int | None = None
    share: float | None = None
    over: str | None = None


class SearchResponse(Out):
    """The hits of one query."""

    gallery: str = Field(examples=["demo"])
    version: str = Field(description="changes when the gallery does", examples=["4b227777d4dd1fc6"])
    query: dict[str, Any] = Field(description="what was asked, readable", examples=[{"text": "大熊猫"}])
    took_ms: float
    explain: ExplainOut
    hits: list[HitOut]


class BatchResponse(Out):
    """The hits of several queries, in their order."""

    answers: list[SearchResponse]

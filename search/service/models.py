"""Requests and answers as the OpenAPI document describes them.

Bounds that `Gallery.search` checks itself are only described here, so that both give the same sentence.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

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
_MOST_TERMS = 64
MOST_IDS = 10_000  # results of a search of clip-retrieval's clients, whose page asks for 3000


class In(BaseModel):
    """The base of all requests: fields that are not known are refused, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Out(BaseModel):
    """The base of all answers."""


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


class KnnRequest(In):
    """A search of a client of clip-retrieval. Of text, image, image_url and embedding_input the first one counts.

    Its clients send null or an empty text for what is not given, and numbers as texts.
    """

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"text": "a castle", "modality": "image", "num_images": 40}]},
    )

    text: str | None = Field(None, max_length=10_000, examples=["a castle"])
    image: str | None = Field(None, description="base64", examples=[None])
    image_url: str | None = Field(None, examples=[None])
    embedding_input: Vector | None = Field(None, examples=[None])
    modality: Literal["image", "text"] = Field("image", description="whether images or captions are searched")
    num_images: int = Field(100, ge=0, description="results with metadata", examples=[40])
    num_result_ids: int | None = Field(
        None, ge=1, le=MOST_IDS, description="results, of which the later ones have only an id; by default num_images"
    )
    indice_name: str | None = Field(None, description="a served gallery; by default the first one", examples=[None])
    use_mclip: bool = Field(False, description="not used: the gallery's encoder decides about languages")
    deduplicate: bool = Field(False, description="whether images whose vectors have a similarity of 0.94 are one")
    use_safety_model: bool = Field(False, description="whether rows with punsafe above 0.5 are left out")
    use_violence_detector: bool = Field(False, description="not used")
    aesthetic_score: Annotated[int, Field(ge=0, le=9)] | Annotated[str, Field(pattern="^[0-9]?$")] | None = None
    aesthetic_weight: FiniteFloat | Annotated[str, Field(pattern=r"^([0-9]{0,9}\.?[0-9]{1,9})?$")] | None = None


class IdsRequest(In):
    """Rows whose metadata a client of clip-retrieval wants."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"ids": [17, 18]}]})

    ids: list[Row | Annotated[str, Field(pattern="^[0-9]{1,18}$")]] = Field(max_length=MOST_IDS)
    indice_name: str | None = Field(None, description="a served gallery; by default the first one", examples=[None])


class ConfigOut(Out):
    """What clip-retrieval's page needs to know."""

    defaultBackend: str
    defaultIndex: str
    urlColumn: str


class ProblemOut(Out):
    """Why a request was refused (RFC 9457)."""

    type: str = Field(examples=["urn:diantu:invalid"])
    title: str = Field(examples=["The request cannot be used"])
    status: int = Field(examples=[400])
    detail: str = Field(description="one sentence for users", examples=["k is 0; give at least 1"])
    instance: str | None = Field(None, examples=["/v1/search"])


class ImageItem(In):
    """An image to embed."""

    image: ImageText


class EmbeddingsRequest(In):
    """Texts or images to embed, in the form of OpenAI's API."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "conse", "input": ["大熊猫", "a castle"]}]})

    model: str = Field(
        max_length=1000, description="the name of a gallery, or of an encoder of one", examples=["conse"]
    )
    input: (
        Text
        | Annotated[list[Text], Field(min_length=1, max_length=256)]
        | Annotated[list[ImageItem], Field(min_length=1, max_length=32)]
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1, description="must be that of the encoder")
    user: str | None = Field(None, max_length=1000, description="not used")


class EmbeddingOut(Out):
    """The vector of one text or image."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str = Field(description="of unit length; as base64 the bytes of float32, little-endian")


class UsageOut(Out):
    """What was encoded, in characters: encoders count tokens in different ways."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(Out):
    """Vectors, in the order of the input."""

    object: Literal["list"]
    data: list[EmbeddingOut]
    model: str
    usage: UsageOut


class SessionRequest(In):
    """The token of the service."""

    token: str = Field(max_length=4096)


class SessionOut(Out):
    """Whether the service asks for a token, and whether this browser has given it."""

    token_required: bool
    authorized: bool


class HealthOut(Out):
    """The service runs."""

    status: Literal["ok"]


class ReadyOut(Out):
    """Every gallery can answer."""

    status: Literal["ready"]
    galleries: dict[str, str | None] = Field(
        description="for each gallery None, or why a newer version of it does not answer", examples=[{"demo": None}]
    )

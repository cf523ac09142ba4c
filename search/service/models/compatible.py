"""What clip-retrieval's clients send and are answered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, FiniteFloat

from .fields import In, Out, Row, Vector

MOST_IDS = 10_000  # results of a search of clip-retrieval's clients, whose page asks for 3000


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

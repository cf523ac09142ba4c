"""Embeddings, in the form of OpenAI's API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from .fields import ImageText, In, Out, Text


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

"""Vectors of texts and images, in the form of OpenAI's API."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ..bodies import read_json
from ..context import Context, context_of, json_bytes
from ..documentation import body, problems
from ..models.embeddings import EmbeddingsRequest, EmbeddingsResponse, ImageItem
from ..problems import ProblemError
from ..queries import host_of, image_bytes
from ..served import Opened

router = APIRouter(prefix="/v1", tags=["embeddings"])


@router.post(
    "/embeddings",
    response_model=EmbeddingsResponse,
    openapi_extra=body(EmbeddingsRequest),
    responses=problems(403, 404, 408, 410, 415, 429, 503, 504),
)
async def embeddings(request: Request) -> Response:
    """Encodes texts or images with the encoder of a gallery: vectors of unit length."""
    context = context_of(request)
    asked = await read_json(request, EmbeddingsRequest)
    opened, space = _encoder(context, asked.model)
    items: Sequence[str | ImageItem] = [asked.input] if isinstance(asked.input, str) else asked.input

    def answer() -> bytes:
        if images := [item.image for item in items if isinstance(item, ImageItem)]:
            host = host_of(request)
            pixels = [context.decoded(image_bytes(image, opened, context, host)) for image in images]
            emb_BD = opened.gallery.encode_images(pixels, space=space)
        else:
            emb_BD = opened.gallery.encode_texts([item for item in items if isinstance(item, str)], space=space)
        if asked.dimensions not in (None, emb_BD.shape[1]):
            raise ProblemError(
                400, f"dimensions is {asked.dimensions}; {asked.model} gives vectors of {emb_BD.shape[1]}"
            )
        return json_bytes(_as_openai(asked, items, emb_BD))

    return Response(await context.run(request, answer), media_type="application/json")


def _encoder(context: Context, model: str) -> tuple[Opened, str | None]:
    """The gallery, and the space in it, that a model's name means: a gallery's name, or an encoder's.

    Raises:
        ProblemError: 404 if it is neither.
    """
    if model in context.galleries:
        return context.opened(model), None
    for name in context.galleries:
        opened = context.opened(name)
        if model in opened.gallery.spaces:
            return opened, model
    known = dict.fromkeys(space for name in context.galleries for space in context.opened(name).gallery.spaces)
    raise ProblemError(404, f"the model {model!r} is not known; give one of: {', '.join((*known, *context.galleries))}")


def _as_openai(asked: EmbeddingsRequest, items: Sequence[str | ImageItem], emb_BD: np.ndarray) -> dict[str, Any]:
    is_float = asked.encoding_format == "float"
    vectors = (
        emb_BD.tolist() if is_float else [base64.b64encode(emb_D.astype("<f4").tobytes()).decode() for emb_D in emb_BD]
    )
    # Encoders count tokens in different ways, so characters are counted.
    size = sum(len(item) for item in items if isinstance(item, str))
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)],
        "model": asked.model,
        "usage": {"prompt_tokens": size, "total_tokens": size},
    }

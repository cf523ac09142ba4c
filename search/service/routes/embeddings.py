"""Vectors of texts and images, in the form of OpenAI's API."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/v1", tags=["embeddings"])

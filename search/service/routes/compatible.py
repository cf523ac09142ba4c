"""The routes of clip-retrieval's back end, for its clients."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()

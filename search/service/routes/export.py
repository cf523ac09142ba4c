"""Downloads of chosen rows."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()

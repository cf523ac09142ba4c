"""What is served: galleries, their spaces and their columns."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()

"""A gallery answers: texts, pictures or vectors in; hits with scores, metadata and pixels out."""

from .gallery import Gallery
from .hits import Hit, Hits

__all__ = ["Gallery", "Hit", "Hits"]

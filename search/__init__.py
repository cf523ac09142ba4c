"""A gallery answers: texts, pictures, vectors and mixes of them in; hits with scores, metadata and pixels out."""

from .gallery import Gallery
from .hits import Hit, Hits
from .query import Query

__all__ = ["Gallery", "Hit", "Hits", "Query"]

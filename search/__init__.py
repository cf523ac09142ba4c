"""Search a gallery by text, image, vector or a mix of them; hits have scores, metadata and the original image."""

from ..datasets.errors import DiantuError
from .explain import Explain
from .gallery import Gallery
from .hits import Hit, Hits, Nearest
from .options import SearchOptions
from .query import Query

__all__ = ["DiantuError", "Explain", "Gallery", "Hit", "Hits", "Nearest", "Query", "SearchOptions"]

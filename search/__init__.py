"""Search a gallery by text, image, vector or a mix of them; hits have scores, metadata and the original image.

A `Gallery` is a folder on this machine, a `Client` is one that `diantu serve` serves.
"""

from ..datasets.errors import DiantuError
from .client import Client
from .explain import Explain
from .gallery import Gallery
from .hits import Hit, Hits, Nearest
from .options import SearchOptions
from .query import Query

__all__ = ["Client", "DiantuError", "Explain", "Gallery", "Hit", "Hits", "Nearest", "Query", "SearchOptions"]

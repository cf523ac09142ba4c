"""Pixels to vectors, vectors to an index.

A program that builds and keeps a gallery needs these names only:

    from diantu.indexing import add_images, build_index, compact, delete, find_duplicates, import_vectors
    from diantu.indexing import load_encoder, relocate
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .build.job import build_index
    from .encoders import load_encoder
    from .index.report import IndexRequest
    from .upkeep.adding import Added, add_images
    from .upkeep.compaction import compact
    from .upkeep.dedup import find_duplicates
    from .upkeep.deletion import delete
    from .upkeep.importing import import_vectors
    from .upkeep.relocation import relocate

__all__ = [
    "Added",
    "IndexRequest",
    "add_images",
    "build_index",
    "compact",
    "delete",
    "find_duplicates",
    "import_vectors",
    "load_encoder",
    "relocate",
]

# Name → its module, which is imported at the first use: most modules of this stage load torch or FAISS.
_MODULES = {
    "Added": "upkeep.adding",
    "IndexRequest": "index.report",
    "add_images": "upkeep.adding",
    "build_index": "build.job",
    "compact": "upkeep.compaction",
    "delete": "upkeep.deletion",
    "find_duplicates": "upkeep.dedup",
    "import_vectors": "upkeep.importing",
    "load_encoder": "encoders",
    "relocate": "upkeep.relocation",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value

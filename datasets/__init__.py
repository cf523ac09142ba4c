"""Shards of images: find them, read their samples, decode their pixels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .decoding import decode
    from .errors import InputError, Reason, SampleError, ShardError
    from .features import image_features
    from .readers.formats import scan
    from .samples import read_sample, read_span
    from .sources import find_shards
    from .types import Entry, Failure, Sample, Scan, Shard, Span

__all__ = [
    "Entry",
    "Failure",
    "InputError",
    "Reason",
    "Sample",
    "SampleError",
    "Scan",
    "Shard",
    "ShardError",
    "Span",
    "decode",
    "find_shards",
    "image_features",
    "read_sample",
    "read_span",
    "scan",
]

# Name → its module, which is imported at the first use. Python imports this file before any module of the package, so
# imports at the top would load numpy, pyarrow and fsspec also where only an error class is needed (`diantu --help`).
# No module may have the name of one of these: importing it would put the module in the place of the name.
_MODULES = {
    "decode": "decoding",
    "image_features": "features",
    "scan": "readers.formats",
    "find_shards": "sources",
    **dict.fromkeys(("InputError", "Reason", "SampleError", "ShardError"), "errors"),
    **dict.fromkeys(("read_sample", "read_span"), "samples"),
    **dict.fromkeys(("Entry", "Failure", "Sample", "Scan", "Shard", "Span"), "types"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value  # so that this function is called once for each name
    return value

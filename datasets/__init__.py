"""Shards of images: find them, read their samples, decode their pixels.

An extension that reads another shard format imports all it needs from here: `Reader` and what its functions take and
return. See `readers.reader`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .decoding import IMAGE_EXTENSIONS, decode, is_image_name
    from .errors import (
        DiantuError,
        FileError,
        InputError,
        JobError,
        PixelsError,
        Reason,
        RowError,
        SampleError,
        ServiceError,
        ShardError,
    )
    from .features import image_features
    from .readers.formats import locate, read_span, scan
    from .readers.reader import Reader, read_range
    from .samples import read_sample
    from .sources import find_shards
    from .types import Entry, Failure, Place, Sample, Scan, Shard, Span

__all__ = [
    "IMAGE_EXTENSIONS",
    "DiantuError",
    "Entry",
    "Failure",
    "FileError",
    "InputError",
    "JobError",
    "PixelsError",
    "Place",
    "Reader",
    "Reason",
    "RowError",
    "Sample",
    "SampleError",
    "Scan",
    "ServiceError",
    "Shard",
    "ShardError",
    "Span",
    "decode",
    "find_shards",
    "image_features",
    "is_image_name",
    "locate",
    "read_range",
    "read_sample",
    "read_span",
    "scan",
]

# Name → its module, which is imported at the first use. Python imports this file before any module of the package, so
# imports at the top would load numpy, pyarrow and fsspec also where only an error class is needed (`diantu --help`).
# No module may have the name of one of these: importing it would put the module in the place of the name.
_MODULES = {
    "image_features": "features",
    "read_sample": "samples",
    "find_shards": "sources",
    **dict.fromkeys(("IMAGE_EXTENSIONS", "decode", "is_image_name"), "decoding"),
    **dict.fromkeys(
        (
            "DiantuError",
            "FileError",
            "InputError",
            "JobError",
            "PixelsError",
            "Reason",
            "RowError",
            "SampleError",
            "ServiceError",
            "ShardError",
        ),
        "errors",
    ),
    **dict.fromkeys(("locate", "read_span", "scan"), "readers.formats"),
    **dict.fromkeys(("Reader", "read_range"), "readers.reader"),
    **dict.fromkeys(("Entry", "Failure", "Place", "Sample", "Scan", "Shard", "Span"), "types"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value  # so that this function is called once for each name
    return value

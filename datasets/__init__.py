"""Shards of images: find them, read their samples, decode their pixels."""

from .decode import decode
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

"""Shards of images: find them, read their samples, decode their pixels."""

from .decode import decode
from .features import image_features
from .samples import read_sample, read_span, scan
from .sources import find_shards
from .types import Entry, Failure, InputError, Reason, Sample, SampleError, Scan, Shard, ShardError, Span

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

"""Shards of images: find them, read their samples, decode their pixels.

An extension that reads another shard format imports all it needs from here: `Reader` and what its functions take and
return. See `readers.reader`.
"""

from .decode import IMAGE_EXTENSIONS, decode, is_image_name
from .errors import InputError, Reason, SampleError, ShardError
from .features import image_features
from .readers.formats import locate, read_span, scan
from .readers.reader import Reader, read_range
from .samples import read_sample
from .sources import find_shards
from .types import Entry, Failure, Place, Sample, Scan, Shard, Span

__all__ = [
    "IMAGE_EXTENSIONS",
    "Entry",
    "Failure",
    "InputError",
    "Place",
    "Reader",
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
    "is_image_name",
    "locate",
    "read_range",
    "read_sample",
    "read_span",
    "scan",
]

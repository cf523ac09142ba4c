"""The table of shard formats: which reader scans a shard."""

from __future__ import annotations

from ..errors import InputError, ShardError
from ..types import Scan, Shard
from . import folder, parquet, webdataset

SCANNERS = {
    "webdataset": webdataset.scan,
    "webdataset.gz": webdataset.scan,
    "folder": folder.scan,
    "parquet": parquet.scan,
}


def scan(shard: Shard) -> Scan:
    """Finds a shard's samples by their headers or names, in the shard's order, without reading a picture.

    Raises:
        ShardError: if the shard cannot be opened or is not what its format says.
    """
    if shard.format == "imported":
        raise ShardError(f"the rows of {shard.uri} were imported as vectors, so their pictures cannot be read")
    if shard.format not in SCANNERS:
        raise InputError(f"shard format {shard.format!r} of {shard.uri} is not known; allowed: {', '.join(SCANNERS)}")
    try:
        return SCANNERS[shard.format](shard)
    except OSError as error:
        raise ShardError(f"{shard.uri} cannot be read: {error}", may_pass=True) from error


# Endings of files that are shards, and their formats.
FORMATS = {".tar": "webdataset", ".tar.gz": "webdataset.gz", ".tgz": "webdataset.gz", ".parquet": "parquet"}

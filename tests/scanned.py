"""Scanned shards, for tests of what reads them."""

from __future__ import annotations

from pathlib import Path

from diantu.datasets import Sample, Shard, find_shards, read_sample, scan


def samples(shard: Shard) -> dict[str, Sample]:
    """All samples of a shard by their keys."""
    return {entry.key: read_sample(entry) for entry in scan(shard).entries}


def only(source: Path | str, **options: str) -> Shard:
    """The only shard of a source."""
    (shard,) = find_shards([str(source)], **options)
    return shard

"""184 real photographs with captions in English and Chinese, for the demo and the tests.

All are CC0-1.0 or in the public domain. `photos.csv` has the licence, author and source of every file, and
`ATTRIBUTION.md` says where they were collected.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from ..files import write_atomic
from ..tables import read_table

FOLDER = Path(__file__).parent
QUERIES = FOLDER / "queries.jsonl"  # text queries with their relevant images, for `diantu evaluate`


def rows() -> dict[str, dict[str, Any]]:
    """File name → caption_en, caption_zh, category, width, height, licence, author, source."""
    return {name: dict(row) for name, row in read_table(str(FOLDER / "photos.csv")).rows.items()}


def nouns() -> list[dict[str, Any]]:
    """Nouns present in the collection and as many absent from it: `noun_en`, `noun_zh`, `present` (bool)."""
    with (FOLDER / "nouns.csv").open(encoding="utf-8", newline="") as file:
        return [{**row, "present": row["present"] == "yes"} for row in csv.DictReader(file)]


def pack(output: Path, num_shards: int) -> list[Path]:
    """Packs the photographs into webdataset tars of equal size, in the order of their names.

    The bytes are the same every time, so a tar that exists with these bytes is not written again.
    """
    output.mkdir(parents=True, exist_ok=True)
    photos = sorted(rows().items())
    per_shard = -(-len(photos) // num_shards)
    paths = []
    for shard in range(num_shards):
        path = output / f"{shard:05d}.tar"
        data = _tar(photos[shard * per_shard : (shard + 1) * per_shard])
        if not path.exists() or path.read_bytes() != data:
            write_atomic(path, data)
        paths.append(path)
    return paths


def _tar(photos: list[tuple[str, dict[str, Any]]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, row in photos:
            stem = name.rpartition(".")[0]
            for member, data in (
                (name, (FOLDER / name).read_bytes()),
                (f"{stem}.txt", row["caption_en"].encode()),
                (f"{stem}.json", json.dumps(row, ensure_ascii=False).encode()),
            ):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()

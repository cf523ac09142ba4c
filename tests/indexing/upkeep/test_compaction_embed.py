"""Embedding into a compacted gallery: deleted rows do not come back, new rows and spaces fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pictures import jpeg, write_tar

from diantu.datasets import find_shards
from diantu.indexing.embed.job import embed
from diantu.indexing.encoders import ImageEncoder, load_encoder
from diantu.indexing.store.manifest import read_manifest
from diantu.indexing.store.tombstones import read_deleted
from diantu.indexing.upkeep.compaction import compact
from diantu.indexing.upkeep.deletion import delete


def metadata(root: Path) -> list[dict[str, object]]:
    return [row for path in sorted((root / "metadata").glob("*")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def encoders(clip_folder: Path, dinov2_folder: Path) -> list[ImageEncoder]:
    return [load_encoder(f"hf:{folder}", device="cpu", precision="fp32") for folder in (clip_folder, dinov2_folder)]


def keys(root: Path) -> list[object]:
    return [row["key"] for row in metadata(root)]


def test_deleted_rows_do_not_come_back(tmp_path: Path, encoders: list[ImageEncoder]) -> None:
    for shard in range(2):
        write_tar(tmp_path / f"s/{shard}.tar", [(f"{shard}{i}.jpg", jpeg(10 * shard + i)) for i in range(4)])
    shards = find_shards([str(tmp_path / "s")])
    embed(shards, tmp_path / "whole", encoders, batch_size=4)
    embed(shards, tmp_path / "g", encoders[0], batch_size=4)
    delete(tmp_path / "g", keys=["01", "03"])

    assert embed(shards, tmp_path / "g", encoders[0]).num_images == 0
    assert read_deleted(tmp_path / "g").tolist() == [1, 3]

    compact(tmp_path / "g", tmp_path / "new")
    kept = [0, 2, 4, 5, 6, 7]
    assert embed(shards, tmp_path / "new", encoders[0]).num_images == 0
    assert keys(tmp_path / "new") == [keys(tmp_path / "whole")[row] for row in kept]

    # An encoder that is added later gives vectors to the rows that are left, each its own.
    summary = embed(shards, tmp_path / "new", encoders, batch_size=4)
    assert (summary.num_images, summary.lacking) == (6, ())
    place = f"spaces/{encoders[1].spec.slug}/img_emb"
    found, expected = (
        np.concatenate([np.load(path) for path in sorted((tmp_path / name / place).glob("*"))])
        for name in ("new", "whole")
    )
    np.testing.assert_array_equal(found, expected[kept])

    # A new shard gets the number that it would have got.
    write_tar(tmp_path / "s/2.tar", [("20.jpg", jpeg(20))])
    embed(find_shards([str(tmp_path / "s")]), tmp_path / "new", encoders, batch_size=4)
    assert read_manifest(tmp_path / "new").parts == ((0, 2), (1, 4), (2, 1))


def test_a_compacted_part_is_not_made_again_with_deleted_rows(tmp_path: Path, encoders: list[ImageEncoder]) -> None:
    write_tar(tmp_path / "s.tar", [(f"{i}.jpg", jpeg(i)) for i in range(4)])
    shards = find_shards([str(tmp_path / "s.tar")])
    embed(shards, tmp_path / "g", encoders[0], batch_size=4)
    delete(tmp_path / "g", keys=["2"])
    compact(tmp_path / "g", tmp_path / "new")
    record = tmp_path / "new/parts/00000.json"
    record.unlink()
    (reason,) = embed(shards, tmp_path / "new", encoders[0]).lacking
    assert "gives 4 rows, its part had 3" in reason
    assert not record.exists()
    assert keys(tmp_path / "new") == ["0", "1", "3"]

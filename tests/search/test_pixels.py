"""The original images of hits, from every container."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import jpeg, write_tar

from diantu.datasets import decode, find_shards
from diantu.indexing.embed.job import embed
from diantu.indexing.encoders import load_encoder
from diantu.search import Gallery

TARS = [(f"{i}.jpg", jpeg(i)) for i in range(5)]


def write_folder(path: Path) -> Path:
    (path / "子" / "目录").mkdir(parents=True)
    for name, data in TARS:
        (path / "子" / "目录" / name).write_bytes(data)
    return path


def write_parquet(path: Path) -> Path:
    rows = [{"key": name, "image": {"bytes": data, "path": name}} for name, data in TARS]
    pq.write_table(pa.Table.from_pylist(rows), path / "train.parquet", row_group_size=2)
    return path / "train.parquet"


def write_compressed(path: Path) -> Path:
    (path / "s.tar.gz").write_bytes(gzip.compress(write_tar(path / "s.tar", TARS).read_bytes()))
    return path / "s.tar.gz"


@pytest.mark.parametrize("kind", ["tar", "folder", "parquet", "tar.gz"])
def test_a_hit_returns_the_original_image(tmp_path: Path, clip_folder: Path, kind: str) -> None:
    (tmp_path / "data").mkdir()
    writers = {
        "tar": lambda path: write_tar(path / "s.tar", TARS),
        "folder": write_folder,
        "parquet": write_parquet,
        "tar.gz": write_compressed,
    }
    source = writers[kind](tmp_path / "data")
    encoder = load_encoder(f"hf:{clip_folder}", device="cpu")
    embed(find_shards(str(source)), tmp_path / "g", encoder, batch_size=2)
    gallery = Gallery.open(tmp_path / "g", encoder=encoder)
    assert len(gallery) == 5
    for i in range(5):
        hit = gallery.search(image=jpeg(i), k=1)[0]
        assert hit.row == i
        if kind == "tar.gz":
            with pytest.raises(FileNotFoundError, match="no single image can be read"):
                hit.image()
        else:
            np.testing.assert_array_equal(np.asarray(hit.image()), decode(jpeg(i)))

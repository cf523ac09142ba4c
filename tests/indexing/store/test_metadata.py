from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from galleries import keyed, snapshot_of, write_gallery

from diantu.datasets import Shard
from diantu.indexing.encoders import EncoderSpec
from diantu.indexing.store import metadata as store_metadata
from diantu.indexing.store.manifest import Manifest
from diantu.indexing.store.metadata import Metadata
from diantu.indexing.store.parts import write_part
from diantu.indexing.store.snapshot import Snapshot


def test_rows_come_in_the_order_asked_for_from_any_part(tmp_path: Path) -> None:
    """Parts of several row groups, one empty, asked for at random and with repetitions."""
    sizes = (3000, 0, 1, 1500)
    spec = EncoderSpec(
        name="hf:x", weights="x", weights_sha256="0", dim=2, image_size=8, resize="squash", resize_size=8,
        interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1),
    )  # fmt: skip
    for number, size in enumerate(sizes):
        records = [{"key": f"{number}-{i}", "width": i} for i in range(size)]
        shard = Shard(uri=f"/{number}.tar", format="webdataset", size_bytes=0)
        emb_ND = np.zeros((size, 2), np.float32)
        write_part(tmp_path, number, shard, fingerprint=spec.fingerprint, emb_ND=emb_ND, records=records)
    manifest = Manifest(encoders=(spec,)).with_committed(tmp_path)
    metadata = Metadata(snapshot_of(tmp_path, manifest))
    expected = [f"{number}-{i}" for number, size in enumerate(sizes) for i in range(size)]
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows = rng.integers(0, sum(sizes), 40)
        assert [record["key"] for record in metadata.rows(rows)] == [expected[row] for row in rows]
    assert metadata.rows(np.array([], np.int64)) == []
    with pytest.raises(IndexError):
        metadata.rows(np.array([0, -1]))


def test_only_the_columns_that_are_asked_for(tmp_path: Path) -> None:
    root = write_gallery(tmp_path, keyed(*[3] * 8))
    metadata = Metadata(Snapshot.read(root))
    rows_N = np.arange(24)[::-1]
    assert metadata.rows(rows_N, ["number", "key", "absent"]) == [
        {"key": f"{row // 3}-{row % 3}", "number": row} for row in rows_N.tolist()
    ]
    assert {"key", "number", "caption", "width"} <= set(metadata.rows(rows_N)[0])


def test_columns_without_a_value_in_the_row_groups_that_are_read(tmp_path: Path) -> None:
    """`sparse` and `tags` have values in the second row group only, `never` in none; a caption may hold a dot."""
    records: list[dict[str, object]] = [
        {"key": str(i), "a.b": i, "sparse": i / 2 if i == 1000 else None, "tags": ["x"] if i == 1001 else None,
         "never": None, "caption": None}
        for i in range(1200)
    ]  # fmt: skip
    root = write_gallery(tmp_path, [records])
    metadata = Metadata(Snapshot.read(root))
    names = ["key", "a.b", "sparse", "tags", "never", "caption"]
    for rows in ([3], [1000], [1001, 3, 1000], [1199]):
        found = metadata.rows(np.array(rows), names)
        assert [{name: record.get(name) for name in names} for record in found] == [records[row] for row in rows]
        assert list(found[0]) == [name for name in metadata.rows(np.array([0])).pop() if name in found[0]]
    assert metadata.rows(np.array([5]), ["caption"]) == [{"caption": None}]


@pytest.mark.parametrize("room", [1, 30_000, 1 << 30])
def test_what_is_kept_in_memory_changes_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Row groups and columns are asked for in any order, by threads, with room for one row group, for some, for all."""
    monkeypatch.setattr(store_metadata, "_KEPT_BYTES", room)
    records = [{"key": str(i), "a": i, "b": None if i % 3 else -i, "caption": f"c {i}"} for i in range(2500)]
    metadata = Metadata(Snapshot.read(write_gallery(tmp_path, [records[:1300], records[1300:]])))

    def ask(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(40):
            rows = rng.integers(0, len(records), 5)
            names = [name for name in ("key", "a", "b", "caption") if rng.random() < 0.6] or ["a"]
            assert metadata.rows(rows, names) == [{name: records[row][name] for name in names} for row in rows]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(8)))

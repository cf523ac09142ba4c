"""The inventory, which is only a copy, and galleries of more parts than five digits can number.

`DIANTU_SHARDS=100001` embeds so many shards; by default 300.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine
from histogram import Histogram
from pictures import jpeg, write_tar

from diantu.datasets import find_shards
from diantu.datasets.types import Shard
from diantu.indexing.build.job import build_index
from diantu.indexing.embed import embed
from diantu.indexing.store import inventory
from diantu.indexing.store.layout import record_path
from diantu.indexing.store.ledger import Ledger, Progress
from diantu.indexing.store.manifest import Manifest, read_manifest
from diantu.indexing.store.parts import write_part
from diantu.indexing.store.verify import verify_gallery
from diantu.search import Gallery

SHARDS = int(os.environ.get("DIANTU_SHARDS", "300"))
# A gallery's files have five digits up to this part.
LAST_OF_FIVE = 99_999


@pytest.fixture(autouse=True)
def _few_parts_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "_LEAST_PARTS", 1)


def write_shards(folder: Path, count: int) -> Path:
    folder.mkdir()
    for shard in range(count):
        write_tar(folder / f"{shard:05d}.tar", [(f"{i}.jpg", jpeg(10 * shard + i)) for i in range(2)])
    (folder / "00001.tar").write_bytes(b"no tar")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A gallery of five parts, one of a shard that cannot be read, with an inventory of four."""
    embed(find_shards(str(write_shards(tmp_path / "s", 4))), tmp_path / "g", Histogram())
    write_tar(tmp_path / "s" / "00004.tar", [("broken.jpg", b"broken"), ("0.jpg", jpeg(7))])
    embed(find_shards(str(tmp_path / "s")), tmp_path / "g", Histogram())
    return tmp_path / "g"


def counts(progress: Progress) -> tuple[object, ...]:
    rows = [part.num_rows for part in progress.parts]
    return progress.num_shards, rows, progress.failures, [part.number for part in progress.quarantined]


EXPECTED = (5, [2, 0, 2, 2, 1], {"undecodable": 1}, [1])


def test_it_says_what_the_records_say(root: Path) -> None:
    path = root / "parts" / "inventory.jsonl"
    assert path.read_bytes().count(b"\n") >= 2  # the second job added a line
    assert counts(Ledger(root).progress()) == EXPECTED
    path.unlink()
    assert counts(Ledger(root).progress()) == EXPECTED


def test_damage_anywhere_costs_nothing(root: Path) -> None:
    path = root / "parts" / "inventory.jsonl"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert counts(Ledger(root).progress()) == EXPECTED
        path.write_bytes(whole[:place])
        assert counts(Ledger(root).progress()) == EXPECTED
        Ledger(root).assign([])  # as a job that comes after a kill
        assert counts(Ledger(root).progress()) == EXPECTED
    assert not verify_gallery(root).sentences


def test_a_record_that_was_replaced_is_read_again(root: Path, tmp_path: Path) -> None:
    shard = tmp_path / "s" / "00004.tar"
    write_tar(shard, [("0.jpg", jpeg(7)), ("broken.jpg", jpeg(8))])
    record_path(root, 4).unlink()
    manifest = read_manifest(root)
    Manifest(encoders=manifest.encoders, parts=manifest.parts[:-1]).save(root)
    assert counts(Ledger(root).progress())[1] == [2, 0, 2, 2]
    embed(find_shards(str(tmp_path / "s")), root, Histogram())
    assert counts(Ledger(root).progress()) == (5, [2, 0, 2, 2, 2], {}, [1])


def test_it_does_not_grow_with_every_run(root: Path) -> None:
    path = root / "parts" / "inventory.jsonl"
    for time in range(20):
        for number in range(5):
            os.utime(record_path(root, number), (time, time))  # a copy of the gallery has other times
        Ledger(root).assign([])
    assert path.stat().st_size < 3 * len(next(inventory._lines(inventory.Inventory(root).parts.values())))
    assert counts(Ledger(root).progress()) == EXPECTED


def test_small_galleries_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    embed(find_shards(str(write_shards(tmp_path / "s", 3))), tmp_path / "g", Histogram())
    assert sorted(path.name for path in (tmp_path / "g" / "parts").iterdir()) == [f"0000{i}.json" for i in range(3)]


def test_a_part_may_have_a_number_of_six_digits(tmp_path: Path, diantu: CommandLine) -> None:
    """As after a compaction of a gallery of which all parts but the last two had no rows."""
    root, spec = tmp_path / "g", Histogram().spec
    numbers = (LAST_OF_FIVE, LAST_OF_FIVE + 1)
    shards = [Shard(uri=f"/{i}.tar", format="webdataset", size_bytes=0) for i in range(LAST_OF_FIVE + 2)]
    Ledger(root).assign(shards)
    for number in numbers:
        records = [{"key": f"{number}-{row}"} for row in range(3)]
        emb_ND = np.eye(8)[number % 2 * 3 :][:3]
        write_part(root, number, shards[number], fingerprint=spec.fingerprint, emb_ND=emb_ND, records=records)
    Manifest(encoders=(spec,), parts=((LAST_OF_FIVE, 3),)).with_committed(root).save(root)
    assert sorted(path.name for path in (root / "img_emb").iterdir()) == ["img_emb_100000.npy", "img_emb_99999.npy"]
    assert diantu("dedup", "--gallery", str(root)).returncode == 0
    build_index(root, None)
    gallery = Gallery.open(root)
    assert [row["key"] for row in gallery.rows(range(6))] == [f"{n}-{row}" for n in numbers for row in range(3)]
    assert gallery.search(vector=gallery.vectors([4])[0], k=1)[0].key == "100000-1"
    assert len(gallery.search(vector=gallery.vectors([4])[0], k=9, where="key LIKE '99999%'")) == 3
    assert diantu("status", "--gallery", str(root)).stdout.splitlines()[1] == "shards  2 of 100001 done, 99999 left"
    assert not verify_gallery(root).sentences
    assert diantu("compact", "--gallery", str(root), "--output", str(tmp_path / "c"), "--merge").returncode == 0
    assert [row["key"] for row in Gallery.open(tmp_path / "c").rows(range(6))] == [
        f"{n}-{row}" for n in numbers for row in range(3)
    ]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_very_many_tiny_shards(tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.mkdir()
    first = write_tar(source / "0.tar", [("0.png", jpeg(0, (16, 16)))])
    for shard in range(1, SHARDS):
        (source / f"{shard}.tar").symlink_to(first)
    shards = find_shards(f"{source}/{{0..{SHARDS - 1}}}.tar")
    assert embed(shards, tmp_path / "g", Histogram()).num_images == SHARDS
    assert embed(find_shards(str(source)), tmp_path / "g", Histogram()).num_images == 0
    progress = Ledger(tmp_path / "g").progress()
    assert (progress.num_shards, progress.num_rows) == (SHARDS, SHARDS)
    assert [number for number, _ in read_manifest(tmp_path / "g").parts] == list(range(SHARDS))
    gallery = Gallery.open(tmp_path / "g")
    assert len(gallery) == SHARDS
    assert np.array_equal(gallery.vectors([SHARDS - 1]), gallery.vectors([0]))

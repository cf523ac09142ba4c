"""Jobs refuse damaged files before they change anything; verify says what is wrong and what mends it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine
from damaging import contents_of
from galleries import FURTHER, keyed, write_gallery

from diantu.datasets import InputError
from diantu.indexing.build.job import build_index
from diantu.indexing.store.records import check_file
from diantu.indexing.store.snapshot import Snapshot
from diantu.indexing.store.verify import verify_gallery
from diantu.indexing.upkeep.compaction import compact
from diantu.indexing.upkeep.dedup import find_duplicates
from diantu.indexing.upkeep.deletion import delete
from diantu.search import Gallery


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two parts in two spaces, a deleted row and an index."""
    root = write_gallery(tmp_path_factory.mktemp("refusals") / "g", keyed(6, 5), texts=True)
    delete(root, keys=["0-1"])
    build_index(root, None)
    return root


@pytest.fixture
def gallery(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "g", ignore=shutil.ignore_patterns("*.lock"))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


JOBS: dict[str, Callable[[Path], object]] = {
    "index": lambda root: build_index(root, None),
    "delete": lambda root: delete(root, where="number = 3"),
    "dedup": find_duplicates,
    "compact": lambda root: compact(root, root.with_name("new")),
}


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        ("img_emb/img_emb_00000.npy", ["index", "dedup", "compact"]),
        ("text_emb/text_emb_00001.npy", ["index"]),
        ("metadata/metadata_00000.parquet", ["delete", "dedup", "compact"]),
        ("parts/00001.json", [*JOBS]),
        ("gallery.json", [*JOBS]),
        ("deleted.npy", [*JOBS]),
        ("ledger.jsonl", ["compact"]),
    ],
)
def test_a_job_that_would_build_on_damage_is_refused(gallery: Path, name: str, jobs: list[str]) -> None:
    flip(gallery / name)
    before = contents_of(gallery)
    for job in jobs:
        with pytest.raises(InputError, match=Path(name).name) as refused:
            JOBS[job](gallery)
        assert "\n" not in str(refused.value)
    assert contents_of(gallery) == before


def test_a_large_file_is_not_read_as_a_whole(gallery: Path) -> None:
    path = gallery / "img_emb" / "img_emb_00000.npy"
    flip(path)
    check_file(gallery, 0, path, most=100)
    with pytest.raises(InputError, match=r"img_emb_00000\.npy has changed since it was written; .*diantu embed"):
        check_file(gallery, 0, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="has changed"):
        check_file(gallery, 0, path, most=100)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("img_emb/img_emb_00001.npy", "remove parts/00001.json and run diantu embed again"),
        (f"spaces/{FURTHER.slug}/img_emb/img_emb_00000.npy", f"remove spaces/{FURTHER.slug}/parts/00000.json and run"),
        ("parts/00000.json", "is damaged; remove it and run diantu embed again"),
        ("deleted.npy", "restore it from a copy and run diantu status --accept"),
        ("index/hf_x/index.faiss", "run diantu index again"),
        ("index/hf_x/index.json", "run diantu index again"),
        ("checksums.json", "run diantu status --accept"),
    ],
)
def test_status_has_a_line_for_each_damaged_file(gallery: Path, diantu: CommandLine, name: str, says: str) -> None:
    assert diantu("status", "--gallery", gallery, "--verify").returncode == 0
    flip(gallery / name)
    shown = diantu("status", "--gallery", gallery, "--verify")
    (line,) = [line for line in shown.stdout.splitlines() if line.startswith("damaged ")]
    assert shown.returncode == 1
    assert line.startswith(f"damaged {name} ")
    assert says in line
    done = diantu("status", "--gallery", gallery, "--verify", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["problems"] == [line.removeprefix("damaged ")]


def test_an_older_file_counts_after_it_was_accepted(gallery: Path, diantu: CommandLine) -> None:
    before = (gallery / "deleted.npy").read_bytes()
    delete(gallery, keys=["0-2", "0-3"])
    (gallery / "deleted.npy").write_bytes(before)
    with pytest.raises(InputError, match=r"deleted\.npy is damaged \(it has changed since it was written\)"):
        Snapshot.read(gallery)
    done = diantu("status", "--gallery", gallery, "--accept", "--verify")
    assert done.returncode == 0, done.stdout
    assert "noted   the checksums of 5 files" in done.stdout
    assert Snapshot.read(gallery).deleted.tolist() == [1]


def test_a_damaged_index_is_built_again(gallery: Path) -> None:
    right = Gallery.open(gallery).search(vector=np.eye(8, dtype=np.float32)[0], k=3)
    for name in ("index.faiss", "index.json"):
        flip(gallery / "index" / "hf_x" / name)
        build_index(gallery, None)
        assert verify_gallery(gallery).sentences == ()
        found = Gallery.open(gallery).search(vector=np.eye(8, dtype=np.float32)[0], k=3)
        assert [hit.key for hit in found] == [hit.key for hit in right]


def test_a_gallery_without_checksums_is_read_and_counted(gallery: Path) -> None:
    manifest = json.loads((gallery / "gallery.json").read_text())
    (gallery / "gallery.json").write_text(json.dumps({k: v for k, v in manifest.items() if k != "checksums"}))
    (gallery / "checksums.json").unlink()
    assert verify_gallery(gallery).sentences == ()
    assert verify_gallery(gallery).unchecked == (
        "gallery.json",
        "ledger.jsonl",
        "deleted.npy",
        "rows/rows.json",
        "index/hf_x/index.json",
    )
    assert len(Gallery.open(gallery)) == 10

"""Tombstones, against plain Python sets."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from galleries import keyed, write_gallery
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import same_tree

from diantu.datasets import InputError, checksums
from diantu.datasets.files import exclusive
from diantu.indexing.store import columns
from diantu.indexing.store.layout import DELETED, DELETION_LOCK, JOB_LOCK, remove_temporary_files
from diantu.indexing.store.manifest import read_manifest
from diantu.indexing.store.tombstones import read_deleted
from diantu.indexing.upkeep import deletion
from diantu.indexing.upkeep.deletion import Deleted, delete

SIZES = (4, 0, 5, 1)
NUM_ROWS = sum(SIZES)
KEYS = [record["key"] for part in keyed(*SIZES) for record in part]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten rows in four parts, one of them empty; a test that deletes works on a copy."""
    return write_gallery(tmp_path_factory.mktemp("deletion") / "g", keyed(*SIZES))


@pytest.fixture
def copy(gallery: Path, tmp_path: Path) -> Path:
    return shutil.copytree(gallery, tmp_path / "g")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from([*KEYS, "no such key"]), max_size=6) | st.integers(0, NUM_ROWS), max_size=4))
def test_deletions_add_up(
    tmp_path_factory: pytest.TempPathFactory, gallery: Path, asked: list[list[str] | int]
) -> None:
    """Keys, or a number below which rows are deleted."""
    root = shutil.copytree(gallery, tmp_path_factory.mktemp("added") / "g")
    expected: set[int] = set()
    for ask in asked:
        if isinstance(ask, int):
            done = delete(root, where=f"number < {ask}")
            rows, unknown = set(range(ask)), ()
        else:
            done = delete(root, keys=ask)
            rows = {KEYS.index(key) for key in ask if key in KEYS}
            unknown = ("no such key",) if "no such key" in ask else ()
        assert done == Deleted(
            num_deleted=len(rows - expected),
            num_already=len(rows & expected),
            num_rows=NUM_ROWS - len(rows | expected),
            unknown_keys=unknown,
        )
        expected |= rows
        assert read_deleted(root).tolist() == sorted(expected)
        assert read_deleted(root).dtype == np.int64


@pytest.mark.parametrize("block", [1, 2, 1_000_000])
def test_every_row_of_a_key_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(columns, "_BLOCK", block)
    root = write_gallery(tmp_path, [[{"key": "a"}, {"key": "b"}], [{"key": "a"}], [{"key": "c"}]])
    assert delete(root, keys=["c", "a", "z", "y", "a"]).unknown_keys == ("z", "y")
    assert read_deleted(root).tolist() == [0, 2, 3]


def test_a_deletion_changes_nothing_but_the_tombstones(copy: Path, gallery: Path) -> None:
    delete(copy, keys=["0-1", "2-0"])
    for name in (DELETED, DELETION_LOCK, checksums.NAME):
        (copy / name).unlink()
    shutil.copy(gallery / checksums.NAME, copy)
    assert same_tree(copy, gallery)


def test_a_dry_run_only_counts(copy: Path) -> None:
    delete(copy, keys=["0-1"])
    before = (copy / DELETED).read_bytes()
    told = delete(copy, where="number < 3", dry_run=True)
    assert (copy / DELETED).read_bytes() == before
    assert delete(copy, where="number < 3") == told == Deleted(num_deleted=2, num_already=1, num_rows=7)


@pytest.mark.parametrize("given", [{}, {"where": "true", "keys": ["a"]}, {"keys": "0-1"}])
def test_either_a_condition_or_keys(copy: Path, given: dict[str, str | list[str]]) -> None:
    with pytest.raises(InputError, match=r"either a condition .* or a list of keys"):
        delete(copy, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["", "numbr < 3", "true; DROP TABLE x"])
def test_a_condition_that_is_not_understood_deletes_nothing(copy: Path, where: str) -> None:
    with pytest.raises(InputError, match="condition"):
        delete(copy, where=where)
    assert not (copy / DELETED).exists()


def test_where_there_is_no_gallery_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no gallery"):
        delete(tmp_path / "g", keys=["a"])
    assert not (tmp_path / "g").exists()


def test_parts_that_a_running_job_has_committed_count(copy: Path) -> None:
    """Its list of parts in gallery.json is behind by some seconds."""
    manifest = read_manifest(copy)
    type(manifest)(encoders=manifest.encoders, parts=manifest.parts[:1]).save(copy)
    assert delete(copy, keys=["3-0"]) == Deleted(num_deleted=1, num_already=0, num_rows=NUM_ROWS - 1)
    assert read_deleted(copy).tolist() == [NUM_ROWS - 1]


def test_a_running_job_and_a_deletion_do_not_disturb_each_other(copy: Path) -> None:
    half_written = copy / f"{DELETED}.tmp"
    half_written.touch()
    with exclusive(copy, JOB_LOCK):
        remove_temporary_files(copy)  # as a job does when it starts
        assert half_written.exists()
        assert delete(copy, keys=["0-0"]).num_deleted == 1


def test_deletions_at_the_same_time_are_all_kept(copy: Path) -> None:
    start = threading.Barrier(len(KEYS), timeout=60)

    def run(key: str) -> None:
        start.wait()
        delete(copy, keys=[key])

    threads = [threading.Thread(target=run, args=(key,)) for key in KEYS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert read_deleted(copy).tolist() == list(range(NUM_ROWS))


def test_a_deletion_does_not_wait_for_ever(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "PATIENCE_SECONDS", 0.1)
    with exclusive(copy, DELETION_LOCK), pytest.raises(InputError, match="another job is writing to"):
        delete(copy, keys=["0-0"])
    assert delete(copy, keys=["0-0"]).num_deleted == 1


DAMAGES: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("1\n2\n"),
    "nothing": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "pickled": lambda path: np.save(path, np.array([{"a": 1}], object), allow_pickle=True),
    "an archive": lambda path: np.savez(path.open("wb"), rows=np.arange(3)),
    "other numbers": lambda path: np.save(path, np.array([1.0, 2.0])),
    "two dimensions": lambda path: np.save(path, np.array([[1], [2]])),
    "not ascending": lambda path: np.save(path, np.array([2, 1])),
    "twice": lambda path: np.save(path, np.array([1, 1])),
    "negative": lambda path: np.save(path, np.array([-1, 1])),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_tombstones_are_refused_and_kept(tmp_path: Path, damage: str) -> None:
    path = tmp_path / DELETED
    np.save(path, np.array([1, 2]))
    assert read_deleted(tmp_path).tolist() == [1, 2]
    DAMAGES[damage](path)
    with pytest.raises(InputError, match="restore it from a copy"):
        read_deleted(tmp_path)

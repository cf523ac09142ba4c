"""Compaction: the new gallery holds exactly the rows that were not deleted, in every file and space."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from galleries import DIM, FURTHER, SPEC, keyed, snapshot_of, write_gallery
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import same_tree
from zygote import Zygote, wait_until

from diantu.datasets import InputError, Shard
from diantu.datasets.files import exclusive
from diantu.indexing.store.layout import DELETION_LOCK, space_root
from diantu.indexing.store.ledger import Ledger
from diantu.indexing.store.manifest import Manifest, read_manifest
from diantu.indexing.store.parts import read_failures, write_quarantined_part
from diantu.indexing.store.records import Part, committed, read_part, verify_part
from diantu.indexing.store.tombstones import read_deleted
from diantu.indexing.upkeep import compaction
from diantu.indexing.upkeep.compaction import Compacted, compact, renumbering
from diantu.indexing.upkeep.deletion import delete


def vectors(folder: Path) -> np.ndarray:
    return np.concatenate([np.zeros((0, DIM), np.float16), *(np.load(path) for path in sorted(folder.glob("*.npy")))])


def metadata(root: Path) -> list[dict[str, object]]:
    return [row for path in sorted((root / "metadata").glob("*")) for row in pq.read_table(path).to_pylist()]


def parts_of(root: Path) -> tuple[Part, ...]:
    parts = (read_part(root, number) for number in sorted(committed(root)))
    return tuple(part for part in parts if part is not None)


def copied(root: Path, target: Path) -> Path:
    """A copy without lock files."""
    return shutil.copytree(root, target, ignore=shutil.ignore_patterns("*.lock"))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=4), st.booleans(), st.data())
def test_what_is_left_is_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], texts: bool, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("compaction")
    root = write_gallery(folder / "g", keyed(*sizes), texts=texts)
    deleted = data.draw(st.sets(st.integers(0, sum(sizes) - 1))) if sum(sizes) else set()
    delete(root, keys=[row["key"] for row in metadata(root) if row["number"] in deleted])
    before = copied(root, folder / "before")
    done = compact(root, folder / "new")

    kept = [row for row in range(sum(sizes)) if row not in deleted]
    assert same_tree(copied(root, folder / "after"), before)
    assert metadata(folder / "new") == [metadata(root)[row] for row in kept]
    for place in ("img_emb", "text_emb", f"spaces/{FURTHER.slug}/img_emb"):
        if texts or place != "text_emb":
            assert vectors(folder / "new" / place).tobytes() == vectors(root / place)[kept].tobytes()
    manifest = read_manifest(folder / "new")
    assert (manifest.encoders, manifest.texts, manifest.num_rows) == ((SPEC, FURTHER), texts, len(kept))
    assert manifest == manifest.with_committed(folder / "new")
    assert read_deleted(folder / "new").size == 0
    assert (folder / "new/ledger.jsonl").read_bytes() == (root / "ledger.jsonl").read_bytes()

    rewritten = 0
    for old, new in zip(parts_of(root), parts_of(folder / "new"), strict=True):
        dropped = old.num_rows - new.num_rows
        assert (new.number, new.shard, new.failures) == (old.number, old.shard, old.failures)
        assert new.num_samples == new.num_rows + sum(new.failures.values()) + dropped
        assert read_failures(folder / "new", new.number) == read_failures(root, old.number)
        assert verify_part(folder / "new", new) == []
        further = space_root(folder / "new", FURTHER.slug)
        of_space = read_part(further, new.number)
        assert of_space
        assert of_space.num_rows == new.num_rows
        assert verify_part(further, of_space) == []
        for name in new.files:
            assert (root / name).samefile(folder / "new" / name) == (dropped == 0)
        rewritten += dropped > 0
    assert done == Compacted(
        num_rows=len(kept), num_dropped=len(deleted), num_linked=len(sizes) - rewritten, num_rewritten=rewritten
    )


@given(st.integers(0, 30), st.sets(st.integers(0, 40)))
def test_renumbering_says_where_a_row_went(num_rows: int, deleted: set[int]) -> None:
    manifest = Manifest(encoders=(SPEC,), parts=((0, num_rows // 2), (1, num_rows - num_rows // 2)))
    new_N = renumbering(snapshot_of(Path(), manifest, sorted(row for row in deleted if row < num_rows)))
    kept = [row for row in range(num_rows) if row not in deleted]
    assert new_N.dtype == np.int64
    assert new_N.tolist() == [kept.index(row) if row in kept else -1 for row in range(num_rows)]


def test_parts_without_rows_and_parts_behind_an_open_one_come_along(tmp_path: Path) -> None:
    root = write_gallery(tmp_path / "g", keyed(2, 3, 2, 2))
    shard = Shard(uri="/1.tar", format="webdataset", size_bytes=1)
    write_quarantined_part(root, 1, shard, SPEC, texts=False, reason="no tar")
    (root / "parts/00002.json").unlink()
    Manifest(encoders=(SPEC, FURTHER)).with_committed(root).save(root)
    delete(root, keys=["0-1"])
    done = compact(root, tmp_path / "new")
    assert (done.num_rows, done.num_linked, done.num_rewritten) == (1, 2, 1)
    assert read_manifest(tmp_path / "new").parts == ((0, 1), (1, 0))
    assert [(part.number, part.num_rows) for part in parts_of(tmp_path / "new")] == [(0, 1), (1, 0), (3, 2)]
    assert [part.quarantined for part in Ledger(tmp_path / "new").progress().quarantined] == ["no tar"]
    assert [job.part for job in Ledger(tmp_path / "new").assign([])] == [2]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of 40 parts, of which every second one loses a row."""
    root = write_gallery(tmp_path_factory.mktemp("large") / "g", keyed(*[4] * 40))
    delete(root, where="number % 8 = 3")
    return root


def test_a_compaction_that_is_killed_goes_on(large: Path, tmp_path: Path, jobs: Zygote) -> None:
    compact(large, tmp_path / "whole")
    interrupted = 0
    for round_, target in enumerate((0, 1, random.Random(0).randint(2, 16))):
        output = tmp_path / f"killed {round_}"
        job = jobs.start("compact", "--gallery", large, "--output", output)
        wait_until(lambda: has_begun(output, target) or job.poll() is not None, "parts", pause=0)  # noqa: B023
        job.send_signal(signal.SIGKILL)
        if job.wait() != -signal.SIGKILL:
            continue  # it ended before the signal
        interrupted += 1
        assert not (output / "gallery.json").exists()
        done = {path: path.stat().st_mtime_ns for path in output.glob("parts/*.json")}
        assert compact(large, output) == Compacted(num_rows=140, num_dropped=20, num_linked=20, num_rewritten=20)
        assert {path: path.stat().st_mtime_ns for path in done} == done, "complete parts were written again"
        assert same_tree(output, tmp_path / "whole")
    assert interrupted, "every job ended before it was killed: the test checks nothing"


def has_begun(output: Path, count: int) -> bool:
    return (output / "compacted.json").exists() and len(list((output / "parts").glob("*.json"))) >= count


def test_what_a_kill_leaves_half_done_is_done_again(large: Path, tmp_path: Path) -> None:
    compact(large, tmp_path / "whole")
    compact(large, tmp_path / "new")
    for name in ("gallery.json", "ledger.jsonl", "parts/00000.json", "parts/00001.json", "img_emb/img_emb_00003.npy"):
        (tmp_path / "new" / name).unlink()
    (tmp_path / "new/img_emb/img_emb_00002.npy.tmp").touch()
    compact(large, tmp_path / "new")
    assert same_tree(tmp_path / "new", tmp_path / "whole")
    for number, is_shared in ((0, False), (1, True), (3, True)):
        name = f"img_emb/img_emb_{number:05d}.npy"
        assert (tmp_path / "new" / name).samefile(large / name) == is_shared


def test_an_unfinished_compaction_is_not_mixed_with_another(tmp_path: Path) -> None:
    root = write_gallery(tmp_path / "g", keyed(3, 3))
    delete(root, keys=["0-0"])
    compact(root, tmp_path / "new")
    (tmp_path / "new/gallery.json").unlink()  # as if it had been killed at the end
    delete(root, keys=["1-0"])
    with pytest.raises(
        InputError, match=r"unfinished compaction of .* with 1 deleted rows.*, this one is of .* with 2"
    ):
        compact(root, tmp_path / "new")
    other = write_gallery(tmp_path / "other", keyed(3, 3))
    delete(other, keys=["0-0"])
    with pytest.raises(InputError, match=r"unfinished compaction of .*/g with 1"):
        compact(other, tmp_path / "new")


def test_only_a_new_folder_is_an_output(tmp_path: Path) -> None:
    root = write_gallery(tmp_path / "g", keyed(3))
    done = compact(root, tmp_path / "new")
    whole = copied(tmp_path / "new", tmp_path / "whole")
    assert compact(root, tmp_path / "new") == done  # as after a kill between the parts and the index
    assert same_tree(copied(tmp_path / "new", tmp_path / "again"), whole)
    delete(root, keys=["0-1"])
    for other in (root, write_gallery(tmp_path / "other", keyed(3))):
        with pytest.raises(InputError, match="new is a finished gallery; give a new folder"):
            compact(other, tmp_path / "new")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tmp").write_text("important")
    with pytest.raises(InputError, match="mine is neither empty nor an unfinished compaction"):
        compact(root, tmp_path / "mine")
    assert (tmp_path / "mine/thesis.tmp").exists()
    for inside in (root, root / "new", tmp_path / "x/../g/new"):
        with pytest.raises(InputError, match="is inside the gallery"):
            compact(root, inside)
    with pytest.raises(InputError, match="there is no gallery"):
        compact(tmp_path / "none", tmp_path / "n")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("lock", ["gallery.lock", DELETION_LOCK])
def test_a_gallery_that_is_being_written_is_not_compacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    monkeypatch.setattr(compaction, "PATIENCE_SECONDS", 0.1)
    root = write_gallery(tmp_path / "g", keyed(3))
    with exclusive(root, lock), pytest.raises(InputError, match="another job is writing to"):
        compact(root, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_damage_gets_no_new_checksum(tmp_path: Path) -> None:
    root = write_gallery(tmp_path / "g", keyed(3, 3))
    delete(root, keys=["1-1"])
    path = root / "img_emb/img_emb_00001.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    with pytest.raises(InputError, match=r"part 00001 of .* is damaged \(img_emb/img_emb_00001.npy has changed"):
        compact(root, tmp_path / "new")
    path.write_bytes(whole)
    (root / "img_emb/img_emb_00000.npy").unlink()
    with pytest.raises(InputError, match=r"img_emb_00000.npy is missing"):
        compact(root, tmp_path / "n")
    (root / "parts/00000.json").unlink()
    with pytest.raises(InputError, match=r"part 00000 of .* has no commit record, 3 rows are in gallery.json"):
        compact(root, tmp_path / "n")


def test_where_there_are_no_links_files_are_copied(tmp_path: Path) -> None:
    shared_memory = Path("/dev/shm")
    if not os.access(shared_memory, os.W_OK) or shared_memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    root = write_gallery(tmp_path / "g", keyed(3, 3))
    delete(root, keys=["1-1"])
    compact(root, tmp_path / "linked")
    with tempfile.TemporaryDirectory(dir=shared_memory) as folder:
        assert compact(root, Path(folder) / "new").num_linked == 1
        assert same_tree(Path(folder) / "new", tmp_path / "linked")


def test_vectors_that_an_import_linked_stay_links(tmp_path: Path) -> None:
    root = write_gallery(tmp_path / "g", keyed(3, 3))
    path = root / "img_emb/img_emb_00000.npy"
    path.symlink_to(path.rename(tmp_path / "elsewhere.npy"))
    delete(root, keys=["1-1"])
    compact(root, tmp_path / "new")
    assert (tmp_path / "new/img_emb/img_emb_00000.npy").is_symlink()
    np.testing.assert_array_equal(vectors(tmp_path / "new/img_emb"), vectors(root / "img_emb")[[0, 1, 2, 3, 5]])

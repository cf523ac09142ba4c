"""One state of a gallery, and whether it has changed since."""

from __future__ import annotations

import os
from pathlib import Path

from galleries import FURTHER, keyed, write_gallery

from diantu.indexing.build.job import build_index
from diantu.indexing.index.report import IndexRequest
from diantu.indexing.store.snapshot import Snapshot, gallery_version
from diantu.indexing.upkeep.dedup import find_duplicates
from diantu.indexing.upkeep.deletion import delete


def test_every_change_of_a_gallery_is_noticed(tmp_path: Path) -> None:
    root = write_gallery(tmp_path / "g", keyed(3, 2))
    versions = [gallery_version(root)]
    for change in (
        lambda: delete(root, keys=["0-1"]),
        lambda: find_duplicates(root),
        lambda: build_index(root, None),
        lambda: os.utime(root / "gallery.json", (0, 0)),  # the same bytes again, at another time
    ):
        before = Snapshot.read(root)
        assert before.is_current
        change()
        assert not before.is_current
        versions.append(gallery_version(root))
    assert len(set(versions)) == 4  # the version goes by content: the last change was none
    assert versions[-1] == versions[-2]
    for request in (IndexRequest(rebuild=True), IndexRequest(rebuild=True), None):
        build_index(root, None, request=request)  # the same index again: only the measured times and the reason differ
        assert gallery_version(root) == versions[-1]


def test_deleted_rows_are_those_of_the_manifest(tmp_path: Path) -> None:
    root = write_gallery(tmp_path / "g", keyed(3, 2))
    early = Snapshot.read(root)
    delete(root, keys=["0-1", "1-1"])
    later = Snapshot.read(root)
    assert (early.deleted.tolist(), early.num_alive) == ([], 5)
    assert (later.deleted.tolist(), later.num_rows, later.num_alive) == ([1, 4], 5, 3)
    further = later.in_space(FURTHER)
    assert (further.spec, further.num_rows, further.deleted.tolist()) == (FURTHER, 5, [1, 4])
    assert further.root == root / "spaces" / FURTHER.slug
    assert later.in_space(later.spec) is later

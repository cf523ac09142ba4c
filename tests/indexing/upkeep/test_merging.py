"""`compact --merge`: fewer and larger parts, with the same rows in the same order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from galleries import DIM, FURTHER, add_rows, keyed, new_gallery, unit, write_gallery
from histogram import Histogram
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import jpeg

from diantu.datasets import InputError
from diantu.indexing.build.job import build_index
from diantu.indexing.build.request import IndexRequest
from diantu.indexing.store.ledger import Ledger
from diantu.indexing.store.manifest import read_manifest
from diantu.indexing.store.metadata import Metadata
from diantu.indexing.store.parts import read_failures
from diantu.indexing.store.records import read_part
from diantu.indexing.store.snapshot import Snapshot
from diantu.indexing.store.vectors import Vectors
from diantu.indexing.store.verify import verify_gallery
from diantu.indexing.upkeep import merging
from diantu.indexing.upkeep.adding import add_images
from diantu.indexing.upkeep.compaction import compact
from diantu.indexing.upkeep.dedup import find_duplicates
from diantu.indexing.upkeep.deletion import delete
from diantu.search import Gallery

# Columns of a part; of those with the same name some have the same type, some have another one, some have no value.
FIELDS: list[dict[str, Any]] = [{}, {"year": 1999}, {"year": "about 1999"}, {"Year": 7, "tags": ["x"]}, {"year": None}]


def rows_of(root: Path) -> list[dict[str, Any]]:
    """The metadata of all rows that are not deleted, without missing values."""
    snapshot = Snapshot.read(root)
    alive = np.setdiff1d(np.arange(snapshot.num_rows), snapshot.deleted)
    return [
        {name.lower(): value for name, value in row.items() if value is not None}
        for row in Metadata(snapshot).rows(alive)
    ]


def vectors_of(snapshot: Snapshot) -> np.ndarray:
    alive = np.setdiff1d(np.arange(snapshot.num_rows), snapshot.deleted)
    return Vectors(snapshot).rows(alive)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, len(FIELDS) - 1)), max_size=8),
    st.integers(1, 9),
    st.booleans(),
    st.data(),
)
def test_rows_keep_their_order_and_their_values(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[tuple[int, int]],
    most: int,
    texts: bool,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("merging")
    records = [
        [{**row, **FIELDS[kind]} for row in rows]
        for rows, (_, kind) in zip(keyed(*[size for size, _ in parts]), parts, strict=True)
    ]
    root = write_gallery(folder / "g", records, texts=texts)
    rows = rows_of(root)
    deleted = data.draw(st.sets(st.integers(0, len(rows) - 1))) if rows else set()
    delete(root, keys=[rows[row]["key"] for row in deleted])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "MERGED_ROWS", most)
        done = compact(root, folder / "new", merge=True)

    old, new = Snapshot.read(root), Snapshot.read(folder / "new")
    assert rows_of(folder / "new") == rows_of(root)
    assert repr(rows_of(folder / "new")) == repr(rows_of(root))  # the types, too
    assert (done.num_rows, done.num_dropped) == (len(rows) - len(deleted), len(deleted))
    pairs = [(old, new), (old.in_space(FURTHER), new.in_space(FURTHER))]
    pairs += [(old.over_captions(), new.over_captions())] if texts else []
    for before, after in pairs:
        assert vectors_of(after).tobytes() == vectors_of(before).tobytes()
    assert not verify_gallery(folder / "new").sentences
    assert read_manifest(folder / "new") == new.manifest.with_committed(folder / "new")
    before, after = (Ledger(place).progress() for place in (root, folder / "new"))
    assert after.failures == before.failures
    failures = [row for part in after.parts if part.failures for row in read_failures(folder / "new", part.number)]
    expected = [row for part in before.parts for row in read_failures(root, part.number)]
    assert sorted(map(str, failures)) == sorted(map(str, expected))
    with_rows = [count for _, count in new.manifest.parts if count]
    assert len([number for number, _ in old.manifest.parts]) == len(new.manifest.parts)
    assert len(with_rows) == sum(count > 0 for _, count in compacted_counts(old)) - done.num_merged
    assert all(count <= max(most, *(size for size, _ in parts)) for count in with_rows)


def compacted_counts(snapshot: Snapshot) -> list[tuple[int, int]]:
    """The parts with the rows that are not deleted."""
    starts = np.cumsum([0, *(count for _, count in snapshot.manifest.parts)])
    return [
        (number, int(count - np.sum((snapshot.deleted >= low) & (snapshot.deleted < low + count))))
        for (number, count), low in zip(snapshot.manifest.parts, starts, strict=False)
    ]


def test_parts_of_equal_columns_become_one(tmp_path: Path) -> None:
    root = write_gallery(tmp_path / "g", keyed(*[3] * 40))
    compact(root, tmp_path / "new", merge=True)
    assert [count for _, count in read_manifest(tmp_path / "new").parts] == [120, *[0] * 39]
    assert len(list((tmp_path / "new/metadata").iterdir())) == 1


def test_a_merged_gallery_grows_and_is_searched(tmp_path: Path) -> None:
    root = new_gallery(tmp_path / "g", DIM)
    for seed in range(3):
        add_rows(root, unit(seed, 3))
    compact(root, tmp_path / "new", merge=True)
    add_rows(tmp_path / "new", np.eye(2, DIM, dtype=np.float32))
    build_index(tmp_path / "new", None)
    gallery = Gallery.open(tmp_path / "new")
    assert len(gallery) == 11
    assert gallery.search(vector=np.eye(DIM)[1], k=1)[0].row == 10
    assert [job.part for job in Ledger(tmp_path / "new").assign([])] == []


def test_parts_without_files_are_passed_over(tmp_path: Path) -> None:
    """What reads the metadata of every part, or of some at random, meets those that were joined with others."""
    root = tmp_path / "g"
    for number in range(4):
        images = [(f"{number}-{i}", jpeg(10 * number + i), {"caption": "red"}) for i in range(2)]
        add_images(root, images, Histogram())
    compact(root, tmp_path / "new", merge=True)
    assert find_duplicates(tmp_path / "new").num_rows == 8
    for seed in range(3):
        report = build_index(tmp_path / "new", Histogram(), request=IndexRequest(seed=seed, rebuild=True))
        assert report.queries["text"].source == "captions of the gallery"
    add_images(tmp_path / "new", [("4-0", jpeg(40), {"caption": "red"})], Histogram())
    assert len(Gallery.open(tmp_path / "new")) == 9


def test_one_that_was_killed_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    root = write_gallery(tmp_path / "g", keyed(2, 2, 2, 2))
    compact(root, tmp_path / "whole", merge=True)
    compact(root, tmp_path / "new", merge=True)
    for left_out in ("gallery.json", "parts/00000.json", "parts/00002.json"):
        (tmp_path / "new/gallery.json").unlink(missing_ok=True)
        (tmp_path / "new" / left_out).unlink(missing_ok=True)
        compact(root, tmp_path / "new", merge=True)
        files = {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()}
        for path in files - {Path("gallery.lock")}:
            assert (tmp_path / "new" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()


def test_it_is_not_mixed_with_one_that_leaves_parts_as_they_are(tmp_path: Path) -> None:
    root = write_gallery(tmp_path / "g", keyed(2, 2))
    compact(root, tmp_path / "new")
    (tmp_path / "new/gallery.json").unlink()
    with pytest.raises(InputError, match=r"and parts as they are, this one is of .* and parts joined: remove that"):
        compact(root, tmp_path / "new", merge=True)


def test_damage_gets_no_new_checksum(tmp_path: Path) -> None:
    root = write_gallery(tmp_path / "g", keyed(2, 2))
    part = read_part(root, 1)
    assert part
    path = root / next(name for name in part.files if name.startswith("img_emb"))
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(InputError, match=r"part 00001 of .* is damaged"):
        compact(root, tmp_path / "new", merge=True)

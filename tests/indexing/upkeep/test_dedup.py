"""Near-duplicates, compared with brute force in float64."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded
from PIL import Image, ImageEnhance
from planted import at_angles, plant, stored, unit

from diantu.datasets import decode, photos
from diantu.datasets.features import image_features
from diantu.indexing.build.job import build_index
from diantu.indexing.upkeep.dedup import MAX_HASH_DISTANCE, find_duplicates

Record = Mapping[str, Any]


def lines(root: Path) -> dict[int, dict[str, Any]]:
    """The file's lines by row."""
    return {line["row"]: line for line in pq.read_table(root / "duplicates.parquet").to_pylist()}


def found_in(root: Path) -> dict[int, int]:
    return {row: line["duplicate_of"] for row, line in lines(root).items()}


def distance(one: Record, other: Record) -> int | None:
    if one.get("phash") is None or other.get("phash") is None:
        return None
    return (one["phash"] ^ other["phash"]).bit_count()


def between_scores(emb_ND: np.ndarray, around: float) -> float:
    """A threshold that is far from every score: next to it, float32 and float64 may differ in what is alike."""
    scores = (stored(emb_ND) @ stored(emb_ND).T).ravel()
    scores = np.sort(np.append(scores[np.abs(scores - around) < 0.01], [around - 0.01, around + 0.01]).clip(0, 0.999))
    widest = int(np.diff(scores).argmax())
    return float(scores[widest : widest + 2].mean())


def check_against_brute_force(
    root: Path, emb_ND: np.ndarray, records: Sequence[Record], deleted: Sequence[int], threshold: float, bits: int
) -> None:
    """Representatives are the same rows; every other row is with one that it is most like."""
    scores_NN = stored(emb_ND) @ stored(emb_ND).T

    def like(one: int, other: int) -> bool:
        bits_apart = distance(records[one], records[other])
        return scores_NN[one, other] >= threshold and (bits_apart is None or bits_apart <= bits)

    areas = [(record.get("width") or 0) * (record.get("height") or 0) for record in records]
    present = set(range(len(emb_ND))) - set(deleted)
    representatives: list[int] = []
    for row in sorted(present, key=lambda row: (-areas[row], row)):
        if not any(like(row, other) for other in representatives):
            representatives.append(row)
    found = lines(root)
    assert set(found) == present - set(representatives)
    for row, line in found.items():
        other = line["duplicate_of"]
        assert other in representatives
        assert like(row, other)
        best = max(scores_NN[row, other] for other in representatives if like(row, other))
        assert scores_NN[row, other] >= best - 1e-5
        assert line["score"] == pytest.approx(scores_NN[row, other], abs=1e-4)
        assert line["hash_distance"] == distance(records[row], records[other])


@st.composite
def clustered(draw: st.DrawFn) -> tuple[np.ndarray, list[Record], list[int]]:
    """Rows around a few centres, at distances around the threshold; hashes around a few others, some unknown."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    num_rows, num_centres = draw(st.integers(1, 150)), draw(st.integers(1, 6))
    spread = draw(st.sampled_from([0.02, 0.1, 0.3]))
    centres = unit(rng.standard_normal((num_centres, 8)))
    emb_ND = unit(centres[rng.integers(0, num_centres, num_rows)] + spread * rng.standard_normal((num_rows, 8)))
    hashes = rng.integers(0, 2**63, draw(st.integers(1, 3)), np.uint64)
    flips = np.uint64(1) << rng.integers(0, 64, (num_rows, draw(st.integers(0, 12))), np.uint64)
    phash = hashes[rng.integers(0, len(hashes), num_rows)] ^ np.bitwise_xor.reduce(flips, axis=1)
    records = [
        {
            "phash": None if rng.random() < 0.1 else int(phash[row]),
            "width": None if rng.random() < 0.1 else int(rng.integers(1, 4)),
            "height": int(rng.integers(1, 4)),
        }
        for row in range(num_rows)
    ]
    deleted = np.flatnonzero(rng.random(num_rows) < draw(st.sampled_from([0, 0.2])))
    return emb_ND, records, deleted.tolist()


@settings(max_examples=30, deadline=None)
@given(clustered(), st.sampled_from([0.9, 0.95, 0.99]), st.sampled_from([0, 8, 64]), st.integers(1, 3))
def test_it_finds_what_brute_force_finds(
    rows: tuple[np.ndarray, list[Record], list[int]], threshold: float, bits: int, num_parts: int
) -> None:
    emb_ND, records, deleted = rows
    threshold = between_scores(emb_ND, around=threshold)
    with tempfile.TemporaryDirectory() as folder:
        root = plant(Path(folder), emb_ND, records, num_parts)
        if deleted:
            np.save(root / "deleted.npy", np.array(deleted, np.int64))
        found = find_duplicates(root, threshold=threshold, max_hash_distance=bits)
        assert (found.num_rows, found.num_deleted, found.num_cut) == (len(emb_ND), len(deleted), 0)
        check_against_brute_force(root, emb_ND, records, deleted, threshold, bits)


def test_an_index_changes_nothing(tmp_path: Path) -> None:
    """Half of the rows are in the index, half were added since."""
    rng = np.random.default_rng(0)
    centres = unit(rng.standard_normal((40, 16)))
    emb_ND = unit(centres[rng.integers(0, 40, 600)] + 0.05 * rng.standard_normal((600, 16)))
    plant(tmp_path, emb_ND[:300], num_parts=2)
    build_index(tmp_path, None)
    plant(tmp_path, emb_ND[300:], num_parts=2)
    threshold = between_scores(emb_ND, around=0.96)
    find_duplicates(tmp_path, threshold=threshold)
    check_against_brute_force(tmp_path, emb_ND, [{}] * 600, [], threshold, 0)
    assert len(lines(tmp_path)) > 300


def test_a_group_larger_than_what_is_looked_at_is_found_whole(tmp_path: Path) -> None:
    """More copies of one picture than neighbours are asked for, not quite equal, among other pictures."""
    rng = np.random.default_rng(0)
    copies = unit(np.eye(16)[:1] + 0.01 * rng.standard_normal((3000, 16)))
    emb_ND = np.concatenate([copies, unit(rng.standard_normal((500, 16)) - 10 * np.eye(16)[:1])])
    order = rng.permutation(len(emb_ND))
    plant(tmp_path, emb_ND[order])
    found = find_duplicates(tmp_path, threshold=0.99)
    group = np.flatnonzero(order < 3000)
    np.testing.assert_array_equal(found.largest(1)[0], group)
    assert found.num_others(group[5:6]).tolist() == [2999]
    assert found.num_cut == 1


@pytest.mark.parametrize(("num_rows", "num_cut"), [(2048, 0), (2049, 1)])
def test_only_what_was_not_looked_at_counts_as_cut(tmp_path: Path, num_rows: int, num_cut: int) -> None:
    found = find_duplicates(plant(tmp_path, at_angles(*[0] * num_rows)))
    assert (len(found), found.num_groups, found.num_cut) == (num_rows - 1, 1, num_cut)


def test_a_chain_of_pictures_is_no_group(tmp_path: Path) -> None:
    """Each is like the next, but the last is nothing like the first."""
    plant(tmp_path, at_angles(0, 15, 31, 46, 62))
    find_duplicates(tmp_path, threshold=np.cos(np.radians(20)))
    assert found_in(tmp_path) == {1: 0, 3: 2}


def test_hashes_tell_pictures_of_equal_vectors_apart(tmp_path: Path) -> None:
    phashes = [0, 0b111, 2**64 - 1, 2**64 - 2, None]
    plant(tmp_path, at_angles(0, 0, 0, 0, 0), [{"phash": phash} for phash in phashes])
    find_duplicates(tmp_path)
    assert found_in(tmp_path) == {1: 0, 3: 2, 4: 0}
    assert [line["hash_distance"] for line in lines(tmp_path).values()] == [3, 1, None]
    find_duplicates(tmp_path, max_hash_distance=2)
    assert found_in(tmp_path) == {3: 2, 4: 0}
    find_duplicates(tmp_path, max_hash_distance=64)
    assert set(found_in(tmp_path).values()) == {0}


def test_the_largest_picture_stands_for_its_group(tmp_path: Path) -> None:
    sizes = [(30, 20), (40, 30), (40, 30), (None, None)]
    plant(tmp_path, at_angles(0, 1, 2, 3), [{"width": width, "height": height} for width, height in sizes], 2)
    find_duplicates(tmp_path)
    assert found_in(tmp_path) == {0: 1, 2: 1, 3: 1}


def test_the_default_distance_parts_copies_from_other_pictures() -> None:
    """Three motifs are among the bundled photographs twice; every other pair is two pictures."""

    def phash(image: Image.Image, quality: int = 90) -> int:
        return image_features(decode(encoded(image, quality=quality)))["phash"]

    names = sorted(photos.rows())
    hashes = np.array([phash(Image.open(photos.FOLDER / name)) for name in names], np.uint64)
    one, other = np.triu_indices(len(names), 1)
    close = np.bitwise_count(hashes[one] ^ hashes[other]) <= MAX_HASH_DISTANCE
    pairs = {(Path(names[i]).stem, Path(names[j]).stem) for i, j in zip(one[close], other[close], strict=True)}
    assert pairs == {
        ("landmark_brandenburg_gate", "landmark_brandenburg_gate_b"),
        ("landmark_colosseum", "landmark_colosseum_b"),
        ("landmark_great_pyramid", "landmark_great_pyramid_of_giza"),
    }
    for name, original in list(zip(names, hashes.tolist(), strict=True))[::8]:
        image = Image.open(photos.FOLDER / name)
        width, height = image.size
        copies = {
            "compressed": phash(image, quality=30),
            "halved": phash(image.resize((width // 2, height // 2))),
            "cut": phash(image.crop((width // 100, height // 100, width - width // 100, height - height // 100))),
            "brighter": phash(ImageEnhance.Brightness(image).enhance(1.3)),
        }
        apart = {change: (copy ^ original).bit_count() for change, copy in copies.items()}
        assert max(apart.values()) <= MAX_HASH_DISTANCE, (name, apart)

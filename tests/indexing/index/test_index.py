"""Vectors, index and evaluation against brute force in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from galleries import snapshot_of
from hypothesis import given, settings
from hypothesis import strategies as st

from diantu.datasets import InputError, Shard
from diantu.indexing.build.job import build_index
from diantu.indexing.encoders import EncoderSpec
from diantu.indexing.index.exact import best, exact_search
from diantu.indexing.index.opened import GalleryIndex
from diantu.indexing.measure.oracle import ask_oracle, recalls_of
from diantu.indexing.measure.queries import Queries, read_queries, sample_captions, sample_rows
from diantu.indexing.store.manifest import Manifest, read_manifest
from diantu.indexing.store.parts import write_part
from diantu.indexing.store.snapshot import Snapshot
from diantu.indexing.store.vectors import Vectors

SIZES = (30, 0, 50, 7)
DIM = 16
SPEC = EncoderSpec(
    name="hf:x", weights="x", weights_sha256="0", dim=DIM, image_size=32, resize="squash", resize_size=32,
    interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1),
)  # fmt: skip


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    values = rng.standard_normal(shape)
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def add_part(root: Path, number: int, emb_ND: np.ndarray, captions: list[str | None] | None = None) -> None:
    shard = Shard(uri=f"/{number}.tar", format="webdataset", size_bytes=0)
    texts = captions or [None] * len(emb_ND)
    records = [{"key": f"{number}-{i}", "caption": text} for i, text in enumerate(texts)]
    write_part(root, number, shard, fingerprint=SPEC.fingerprint, emb_ND=emb_ND, records=records)
    manifest = read_manifest(root) if (root / "gallery.json").exists() else Manifest(encoders=(SPEC,))
    manifest.with_committed(root).save(root)


@pytest.fixture
def gallery(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A gallery and its vectors as float16 holds them; some rows stand in it twice."""
    rng = np.random.default_rng(0)
    parts = [unit(rng, size, DIM) for size in SIZES]
    parts[2][3] = parts[0][5]
    for number, emb_ND in enumerate(parts):
        add_part(tmp_path, number, emb_ND)
    return tmp_path, np.concatenate(parts).astype(np.float16).astype(np.float64)


def brute_force(emb_ND: np.ndarray, queries_QD: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-(queries_QD.astype(np.float64) @ emb_ND.T), axis=1, kind="stable")[:, :k]


def test_rows_and_blocks_cross_parts(gallery: tuple[Path, np.ndarray]) -> None:
    root, emb_ND = gallery
    vectors = Vectors(Snapshot.read(root))
    assert len(vectors) == len(emb_ND)
    rows = np.random.default_rng(1).integers(0, len(emb_ND), (200,))
    np.testing.assert_array_equal(vectors.rows(rows), emb_ND[rows].astype(np.float32))
    for start in (0, 29, 30, 31, 86, 87):
        blocks = list(vectors.blocks(start))
        together = np.concatenate([block for _, block in blocks]) if blocks else np.zeros((0, DIM))
        np.testing.assert_array_equal(together, emb_ND[start:].astype(np.float32))
        assert [first for first, _ in blocks[:1]] == ([start] if start < 87 else [])
    for row in (-1, len(emb_ND)):
        with pytest.raises(IndexError):
            vectors.rows(np.array([row]))


@pytest.mark.parametrize("k", [1, 10, 87, 200])
def test_exact_search_is_exact(gallery: tuple[Path, np.ndarray], k: int) -> None:
    root, emb_ND = gallery
    queries_QD = np.concatenate([unit(np.random.default_rng(2), 9, DIM), emb_ND[5:6].astype(np.float32)])
    scores_QK, rows_QK = exact_search(Vectors(Snapshot.read(root)), queries_QD, k)
    expected = brute_force(emb_ND, queries_QD, k)
    np.testing.assert_array_equal(rows_QK[:, : len(emb_ND)], expected)
    exact = np.take_along_axis(queries_QD @ emb_ND.T, expected, 1)
    np.testing.assert_allclose(scores_QK[:, : len(emb_ND)], exact, atol=1e-5)
    assert (rows_QK[:, len(emb_ND) :] == -1).all()


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 12), st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_best_is_a_stable_sort(k: int, scores: list[int]) -> None:
    scores_QN, rows_QN = np.array([scores], np.float32), np.arange(len(scores))[None]
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
    assert best(scores_QN, rows_QN, k)[1][0].tolist() == order


@pytest.mark.parametrize("indexed_parts", [0, 2, 4])
def test_rows_added_after_the_build_are_found_too(tmp_path: Path, indexed_parts: int) -> None:
    rng = np.random.default_rng(0)
    parts = [unit(rng, size, DIM) for size in SIZES]
    Manifest(encoders=(SPEC,)).save(tmp_path)
    for number, emb_ND in enumerate(parts[:indexed_parts]):
        add_part(tmp_path, number, emb_ND)
    build_index(tmp_path, None)
    for number, emb_ND in enumerate(parts[indexed_parts:], start=indexed_parts):
        add_part(tmp_path, number, emb_ND)
    index = GalleryIndex.open(Snapshot.read(tmp_path))
    assert index.num_indexed == sum(SIZES[:indexed_parts])
    emb_ND = np.concatenate(parts).astype(np.float16).astype(np.float64)
    queries_QD = unit(rng, 20, DIM)
    for k in (1, 10, 500):
        np.testing.assert_array_equal(index.search(queries_QD, k)[1], brute_force(emb_ND, queries_QD, k))


def test_the_index_says_what_it_delivers(gallery: tuple[Path, np.ndarray]) -> None:
    root, emb_ND = gallery
    report = build_index(root, None)
    assert report.num_rows == len(emb_ND)
    assert report.delivers["image"].recall[10] == 1.0
    assert set(report.delivers) == {"image"}  # there are no captions, so nothing is said of texts
    scores = emb_ND @ emb_ND.T
    assert report.calibration["image"].mean == pytest.approx(scores.mean(), abs=1e-3)
    assert report.calibration["image"].std == pytest.approx(scores.std(), abs=1e-3)


def test_an_unfinished_index_does_not_count(gallery: tuple[Path, np.ndarray]) -> None:
    root, _ = gallery
    build_index(root, None)
    (root / "index" / "hf_x" / "index.json").unlink()
    assert GalleryIndex.open(Snapshot.read(root)).num_indexed == 0


def test_recall_counts_ties_as_found(gallery: tuple[Path, np.ndarray]) -> None:
    """Row 33 has the vector of row 5: a query near both finds either, and neither answer counts as wrong."""
    root, emb_ND = gallery
    build_index(root, None)
    index = GalleryIndex.open(Snapshot.read(root))
    queries = Queries(kind="text", source="a test", emb_QD=emb_ND[[5, 6]].astype(np.float32), own_Q=np.array([-1, -1]))
    (oracle,) = ask_oracle(index.snapshot, [queries])
    assert sorted(oracle.relevant(1)[0].tolist()) == [5, 33]
    assert recalls_of(index, queries, oracle, 1, "balanced").tolist() == [1.0, 1.0]


def test_a_query_taken_from_the_gallery_does_not_count_its_own_row(gallery: tuple[Path, np.ndarray]) -> None:
    root, emb_ND = gallery
    queries = Queries(kind="image", source="a test", emb_QD=emb_ND[[6]].astype(np.float32), own_Q=np.array([6]))
    (oracle,) = ask_oracle(Snapshot.read(root), [queries])
    expected = brute_force(emb_ND, emb_ND[[6]].astype(np.float32), 51)[0, 1:]
    assert oracle.rows_QK[0, :50].tolist() == expected.tolist()


def test_caption_columns_are_told_apart(tmp_path: Path) -> None:
    add_part(tmp_path, 0, unit(np.random.default_rng(0), 3, DIM), ["a", None, " "])
    add_part(tmp_path, 1, unit(np.random.default_rng(0), 2, DIM), ["b", "c"])
    rng = np.random.default_rng(0)
    found = sample_captions(snapshot_of(tmp_path, read_manifest(tmp_path), [4]), rng)
    assert found == {"caption": {0: "a", 3: "b"}}


@pytest.mark.parametrize("encoding", ["utf-16", "gb18030"])
def test_files_of_queries_are_read_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "q.jsonl").write_bytes('{"text": "a\u2028cat"}\r\n{"text": "一只猫"}\n'.encode(encoding))
    assert read_queries(tmp_path / "q.jsonl", ("text",)) == [{"text": "a\u2028cat"}, {"text": "一只猫"}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"}', "line 2 of the queries .* has no text 'where'; each line: "),
        ('{"text": " ", "where": "true"}', "line 2 .* has no text 'text'"),
        ('{"text": ["a"], "where": "true"}', "line 2 .* has no text 'text'"),
        ('{"text": "a", "where": null}', "line 2 .* has no text 'where'"),
        ("[]", "line 2 is not a JSON object"),
    ],
)
def test_lines_of_queries_have_texts(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "q.jsonl").write_text('{"text": 2023, "where": "true"}\n' + line)
    with pytest.raises(InputError, match=message):
        read_queries(tmp_path / "q.jsonl", ("text", "where"))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 40), st.sets(st.integers(0, 60)), st.integers(0, 50), st.integers(0, 5))
def test_samples_are_of_rows_that_are_not_deleted(num_rows: int, gone: set[int], count: int, seed: int) -> None:
    manifest = Manifest(encoders=(SPEC,), parts=((0, num_rows),))
    snapshot = snapshot_of(Path(), manifest, sorted(row for row in gone if row < num_rows))
    drawn = sample_rows(np.random.default_rng(seed), snapshot, count).tolist()
    alive = set(range(num_rows)) - gone
    assert drawn == sorted(set(drawn))
    assert set(drawn) <= alive
    assert len(drawn) == min(count, len(alive))

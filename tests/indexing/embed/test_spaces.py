"""Several encoders over the same rows, vectors of captions, and galleries imported from clip-retrieval."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import jpeg, same_tree, write_tar
from tiny_models import save_clip

from diantu.datasets import InputError, find_shards
from diantu.indexing.embed import job as embed_module
from diantu.indexing.embed.job import Summary, embed
from diantu.indexing.encoders import ImageEncoder, load_encoder
from diantu.indexing.store.manifest import read_manifest
from diantu.indexing.store.snapshot import Snapshot
from diantu.indexing.store.vectors import Vectors
from diantu.indexing.store.verify import verify_gallery
from diantu.indexing.upkeep.importing import import_vectors
from diantu.search import Gallery


@pytest.fixture(scope="module")
def clip(clip_folder: Path) -> ImageEncoder:
    return load_encoder(f"hf:{clip_folder}", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def dinov2(dinov2_folder: Path) -> ImageEncoder:
    return load_encoder(f"hf:{dinov2_folder}", device="cpu", precision="fp32")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed_module, "_PAUSE_SECONDS", 0.0)


def write_shards(folder: Path, broken: set[tuple[int, int]] = frozenset({(0, 1), (1, 4)})) -> Path:  # type: ignore[assignment]
    for shard in range(2):
        members = []
        for i in range(6):
            members.append((f"{shard}{i}.jpg", b"broken" if (shard, i) in broken else jpeg(10 * shard + i)))
            members += [(f"{shard}{i}.txt", f"caption {shard} {i}".encode())] if i % 2 else []
        write_tar(folder / f"{shard:05d}.tar", members)
    return folder


def run(source: Path, gallery: Path, encoders: list[ImageEncoder], **options: bool) -> Summary:
    return embed(find_shards([str(source)]), gallery, encoders, batch_size=4, **options)


def arrays(folder: Path) -> np.ndarray:
    parts = [np.load(path) for path in sorted(folder.glob("*.npy"))]
    return np.concatenate(parts) if parts else np.zeros((0, 0))


def test_one_pass_gives_the_same_vectors_as_two_jobs(tmp_path: Path, clip: ImageEncoder, dinov2: ImageEncoder) -> None:
    source = write_shards(tmp_path / "s")
    run(source, tmp_path / "both", [clip, dinov2])
    run(source, tmp_path / "alone", [dinov2])
    np.testing.assert_array_equal(
        arrays(tmp_path / "both/spaces/hf_dinov2/img_emb"), arrays(tmp_path / "alone/img_emb")
    )
    assert len(arrays(tmp_path / "both/img_emb")) == 10
    assert [spec.slug for spec in read_manifest(tmp_path / "both").encoders] == ["hf_clip", "hf_dinov2"]


def test_an_encoder_added_later_gives_the_same_bytes(tmp_path: Path, clip: ImageEncoder, dinov2: ImageEncoder) -> None:
    source = write_shards(tmp_path / "s")
    run(source, tmp_path / "at once", [clip, dinov2])
    run(source, tmp_path / "later", [clip])
    assert run(source, tmp_path / "later", [clip, dinov2]).num_images == 10
    assert run(source, tmp_path / "later", [clip, dinov2]).num_images == 0
    assert same_tree(tmp_path / "at once", tmp_path / "later")


def test_moved_models_keep_their_spaces(
    tmp_path: Path, clip: ImageEncoder, dinov2: ImageEncoder, clip_folder: Path, dinov2_folder: Path
) -> None:
    source = write_shards(tmp_path / "s")
    run(source, tmp_path / "whole", [clip, dinov2])
    (source / "00001.tar").rename(tmp_path / "00001.tar")
    run(source, tmp_path / "g", [clip, dinov2])
    (tmp_path / "00001.tar").rename(source / "00001.tar")
    moved = [
        load_encoder(f"hf:{shutil.copytree(folder, tmp_path / name)}", device="cpu", precision="fp32")
        for folder, name in ((clip_folder, "a"), (dinov2_folder, "b"))
    ]
    assert run(source, tmp_path / "g", moved).num_images == 5
    assert same_tree(tmp_path / "g", tmp_path / "whole")


def test_two_models_of_the_same_name_do_not_share_a_folder(
    tmp_path: Path, clip: ImageEncoder, clip_folder: Path
) -> None:
    source = write_shards(tmp_path / "s")
    run(source, tmp_path / "g", [clip])
    other = load_encoder(f"hf:{save_clip(tmp_path / 'clip', seed=1)}", device="cpu")
    with pytest.raises(InputError, match="would share a folder; give each once"):
        run(source, tmp_path / "g", [clip, other])
    moved = load_encoder(f"hf:{shutil.copytree(clip_folder, tmp_path / 'moved')}", device="cpu")
    with pytest.raises(InputError, match="would share the folder hf_clip"):
        run(source, tmp_path / "g", [moved, other])


def test_a_job_must_name_all_encoders_of_the_gallery(tmp_path: Path, clip: ImageEncoder, dinov2: ImageEncoder) -> None:
    source = write_shards(tmp_path / "s")
    run(source, tmp_path / "g", [clip, dinov2])
    with pytest.raises(InputError, match="also has vectors of hf:"):
        run(source, tmp_path / "g", [clip])
    with pytest.raises(InputError, match="was made with hf:"):
        run(source, tmp_path / "g", [dinov2, clip])
    with pytest.raises(InputError, match="give each once"):
        run(source, tmp_path / "h", [clip, clip])


def test_a_changed_shard_gets_no_vectors_in_a_further_space(
    tmp_path: Path, clip: ImageEncoder, dinov2: ImageEncoder
) -> None:
    source = write_shards(tmp_path / "s")
    run(source, tmp_path / "g", [clip])
    write_tar(source / "00001.tar", [("10.jpg", jpeg(10)), ("11.jpg", b"gone bad")])
    summary = run(source, tmp_path / "g", [clip, dinov2])
    (reason,) = summary.lacking
    assert "00001.tar has changed since it was embedded: 4 of its 5 rows" in reason
    assert [path.name for path in (tmp_path / "g/spaces/hf_dinov2/img_emb").iterdir()] == ["img_emb_00000.npy"]
    assert len(arrays(tmp_path / "g/img_emb")) == 10


def test_captions_become_vectors_row_by_row(tmp_path: Path, clip: ImageEncoder, dinov2: ImageEncoder) -> None:
    source = write_shards(tmp_path / "s")
    run(source, tmp_path / "g", [clip], texts=True)
    emb_ND = arrays(tmp_path / "g/text_emb").astype(np.float32)
    captions = [
        row for n in range(2) for row in pq.read_table(tmp_path / f"g/metadata/metadata_{n:05d}.parquet").to_pylist()
    ]
    assert len(emb_ND) == len(captions) == 10
    for row, record in zip(emb_ND, captions, strict=True):
        if record["caption"]:
            assert row @ clip.encode_texts([record["caption"]])[0] > 0.999  # type: ignore[attr-defined]
        else:
            assert not row.any()
    with pytest.raises(InputError, match="made with --texts captions, this job is without"):
        run(source, tmp_path / "g", [clip])
    with pytest.raises(InputError, match="no text side"):
        run(source, tmp_path / "h", [dinov2], texts=True)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.tuples(st.integers(0, 1), st.integers(0, 5))), st.booleans(), st.integers(0, 10**6))
def test_rows_are_equal_in_number_and_order_everywhere(
    tmp_path_factory: pytest.TempPathFactory,
    clip: ImageEncoder,
    dinov2: ImageEncoder,
    broken: set[tuple[int, int]],
    later: bool,
    seed: int,
) -> None:
    """Over random failures, with the second encoder in the same pass or in a later one."""
    folder = tmp_path_factory.mktemp("property")
    source = write_shards(folder / "s", broken)
    if later:
        run(source, folder / "g", [clip], texts=True)
    run(source, folder / "g", [clip, dinov2], texts=True)
    expected = [f"{s}{i}" for s in range(2) for i in range(6) if (s, i) not in broken]
    tables = [pq.read_table(path) for path in sorted((folder / "g/metadata").glob("*.parquet"))]
    assert [key for table in tables for key in table["key"].to_pylist()] == expected
    found = [arrays(folder / "g" / place) for place in ("img_emb", "text_emb", "spaces/hf_dinov2/img_emb")]
    assert [len(emb_ND) for emb_ND in found] == [len(expected)] * 3
    if expected:
        row = random.Random(seed).randrange(len(expected))
        run(write_tar(folder / "one.tar", [("x.jpg", jpeg(int(expected[row])))]), folder / "one", [clip, dinov2])
        for place in ("img_emb", "spaces/hf_dinov2/img_emb"):
            alone, among = arrays(folder / "one" / place)[0], arrays(folder / "g" / place)[row]
            assert alone.astype(np.float32) @ among.astype(np.float32) > 0.998


# Import


def write_clip_retrieval(
    folder: Path, sizes: tuple[int, ...], *, dtype: str = "float16", digits: int = 1
) -> np.ndarray:
    """Writes a folder like `clip-retrieval inference` does."""
    rng = np.random.default_rng(0)
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    parts = []
    for number, size in enumerate(sizes):
        emb_ND = rng.standard_normal((size, 32)).astype(np.float32)
        emb_ND /= np.linalg.norm(emb_ND, axis=1, keepdims=True)
        np.save(folder / "img_emb" / f"img_emb_{number:0{digits}d}.npy", emb_ND.astype(dtype))
        rows = [
            {
                "image_path": f"{number}/{i:04d}",
                "caption": f"c{number} {i}",
                "metadata": json.dumps({"url": f"u{i}", "punsafe": 0.1}),
            }
            for i in range(size)
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / "metadata" / f"metadata_{number:0{digits}d}.parquet")
        parts.append(emb_ND)
    return np.concatenate(parts)


@pytest.mark.parametrize(("dtype", "digits", "linked"), [("float16", 1, 12), ("float16", 4, 12), ("float32", 1, 0)])
def test_a_folder_of_clip_retrieval_becomes_a_gallery(
    tmp_path: Path, clip: ImageEncoder, dtype: str, digits: int, linked: int
) -> None:
    emb_ND = write_clip_retrieval(tmp_path / "c", (3,) * 12, dtype=dtype, digits=digits)
    done = import_vectors(tmp_path / "c", tmp_path / "g", clip.spec)
    assert (done.num_rows, done.num_linked, done.num_empty) == (36, linked, 0)
    gallery = Gallery.open(tmp_path / "g", encoder=clip)
    for row in (0, 5, 35):
        hit = gallery.search(vector=emb_ND[row], k=1)[0]
        assert (hit.row, hit.caption) == (row, f"c{row // 3} {row % 3}")
        assert (hit.metadata["url"], hit.metadata["punsafe"]) == (f"u{row % 3}", 0.1)
    source = tmp_path / "c" / "img_emb" / f"img_emb_{0:0{digits}d}.npy"
    assert source.stat().st_nlink == (2 if linked else 1)
    assert not verify_gallery(tmp_path / "g").sentences
    with pytest.raises(FileNotFoundError, match="was imported"):
        hit.image()


def test_import_normalises_and_leaves_out_rows_without_vector(tmp_path: Path, clip: ImageEncoder) -> None:
    write_clip_retrieval(tmp_path / "c", (4,))
    path = tmp_path / "c/img_emb/img_emb_0.npy"
    emb_ND = np.load(path).astype(np.float32) * 3
    emb_ND[2] = np.nan
    np.save(path, emb_ND)
    assert import_vectors(tmp_path / "c", tmp_path / "g", clip.spec).num_empty == 1
    rows = Vectors(Snapshot.read(tmp_path / "g")).rows(np.arange(3))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 1, 1], atol=2e-3)


def test_invalid_imports_are_refused(tmp_path: Path, clip: ImageEncoder, dinov2: ImageEncoder) -> None:
    write_clip_retrieval(tmp_path / "c", (4, 5))
    with pytest.raises(InputError, match="gives vectors of 64"):
        import_vectors(tmp_path / "c", tmp_path / "g", dinov2.spec)
    path = tmp_path / "c/img_emb/img_emb_1.npy"
    np.save(path, np.load(path)[:-1])
    with pytest.raises(InputError, match="part 1 has 4 vectors and 5 rows of metadata"):
        import_vectors(tmp_path / "c", tmp_path / "g", clip.spec)
    path.unlink()
    with pytest.raises(InputError, match="part 1 has only one of vectors and metadata"):
        import_vectors(tmp_path / "c", tmp_path / "g", clip.spec)
    with pytest.raises(InputError, match=r"has no img_emb"):
        import_vectors(tmp_path, tmp_path / "g", clip.spec)
    assert not (tmp_path / "g").exists()


def test_an_interrupted_import_can_be_resumed(tmp_path: Path, clip: ImageEncoder) -> None:
    write_clip_retrieval(tmp_path / "c", (3, 3))
    import_vectors(tmp_path / "c", tmp_path / "whole", clip.spec)
    import_vectors(tmp_path / "c", tmp_path / "g", clip.spec)
    (tmp_path / "g/parts/00001.json").unlink()
    import_vectors(tmp_path / "c", tmp_path / "g", clip.spec)
    assert same_tree(tmp_path / "g", tmp_path / "whole")

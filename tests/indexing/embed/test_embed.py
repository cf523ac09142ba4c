"""The embedding job through `embed`, on a tiny real model."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from galleries import snapshot_of
from pictures import encoded, huge_png, jpeg, picture, same_tree, write_tar
from PIL import Image
from zygote import Zygote

from diantu.datasets import InputError, decode, find_shards, photos
from diantu.indexing.embed.job import Summary, embed
from diantu.indexing.encoders import ImageEncoder, TextEncoder, load_encoder
from diantu.indexing.measure.queries import sample_queries
from diantu.indexing.store.ledger import FOLDER_SHARD
from diantu.indexing.store.manifest import read_manifest
from diantu.indexing.store.parts import read_failures
from diantu.indexing.store.records import read_part, verify_part
from diantu.indexing.store.vectors import Vectors


@pytest.fixture(scope="module")
def encoder(clip_folder: Path) -> ImageEncoder:
    return load_encoder(f"hf:{clip_folder}", device="cpu", precision="fp32")


def run(source: Path, gallery: Path, encoder: ImageEncoder, **options: int) -> Summary:
    return embed(find_shards([str(source)]), gallery, encoder, **{"batch_size": 4, **options})


def keys(gallery: Path) -> list[str]:
    parts = sorted((gallery / "metadata").glob("*.parquet"))
    return [key for part in parts for key in pq.read_table(part)["key"].to_pylist()]


def resident_bytes(pid: int) -> int:
    """The memory that a process and its children use now; shared memory is counted once."""
    total, children = 0, [pid]
    while children:
        process = Path("/proc") / str(children.pop())
        with contextlib.suppress(OSError):  # it may end meanwhile
            total += 1024 * int((process / "smaps_rollup").read_text().split("\nPss:")[1].split()[0])
            for task in (process / "task").iterdir():
                children += [int(child) for child in (task / "children").read_text().split()]
    return total


def shards_with_failures(folder: Path) -> Path:
    """Three tars of 7 samples; three of the samples are broken."""
    for shard in range(3):
        members = []
        for i in range(7):
            broken = (shard, i) in {(0, 0), (0, 3), (2, 6)}
            members += [(f"{shard}{i}.jpg", b"broken" if broken else jpeg(10 * shard + i)), (f"{shard}{i}.txt", b"t")]
        write_tar(folder / f"{shard:05d}.tar", members)
    return folder


def test_rows_of_vectors_and_metadata_belong_together(tmp_path: Path, encoder: ImageEncoder) -> None:
    import torch

    summary = run(shards_with_failures(tmp_path / "s"), tmp_path / "g", encoder)
    assert (summary.num_images, summary.num_failed, summary.quarantined) == (18, 3, ())
    assert str(summary).startswith("18 images in ")
    manifest = read_manifest(tmp_path / "g")
    assert manifest.parts == ((0, 5), (1, 7), (2, 6))
    assert keys(tmp_path / "g") == [
        f"{s}{i}" for s in range(3) for i in range(7) if f"{s}{i}" not in ("00", "03", "26")
    ]
    emb_ND = Vectors(snapshot_of(tmp_path / "g", manifest)).rows(np.arange(18))
    for row, key in enumerate(keys(tmp_path / "g")):
        pixels = encoder.preprocess(decode(jpeg(int(key))))
        expected = encoder.encode_images(torch.from_numpy(pixels[None]))[0]
        assert emb_ND[row] @ expected / np.linalg.norm(emb_ND[row]) > 0.9999, key


def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path, encoder: ImageEncoder) -> None:
    source = shards_with_failures(tmp_path / "s")
    for workers in (0, 1, 2):
        run(source, tmp_path / f"g{workers}", encoder, num_workers=workers)
    assert same_tree(tmp_path / "g0", tmp_path / "g1")
    assert same_tree(tmp_path / "g0", tmp_path / "g2")


def test_done_shards_are_skipped_and_new_ones_come_last(tmp_path: Path, encoder: ImageEncoder) -> None:
    source, gallery = tmp_path / "s", tmp_path / "g"
    write_tar(source / "00005.tar", [("five.jpg", jpeg(5))])
    assert run(source, gallery, encoder).num_images == 1
    write_tar(source / "00001.tar", [("one.jpg", jpeg(1))])
    assert run(source, gallery, encoder).num_images == 1
    assert keys(gallery) == ["five", "one"]
    assert run(source, gallery, encoder).num_images == 0
    assert keys(gallery) == ["five", "one"]


def test_new_images_of_a_folder_come_last(tmp_path: Path, encoder: ImageEncoder) -> None:
    source, gallery = tmp_path / "s", tmp_path / "g"
    source.mkdir()
    (source / "m.jpg").write_bytes(jpeg(1))
    run(source, gallery, encoder)
    (source / "a.jpg").write_bytes(jpeg(2))
    assert run(source, gallery, encoder).num_images == 1
    assert keys(gallery) == ["m", "a"]


def test_a_large_folder_is_several_shards(tmp_path: Path, encoder: ImageEncoder) -> None:
    data = jpeg()
    for i in range(FOLDER_SHARD + 3):
        (tmp_path / f"{i:05d}.jpg").write_bytes(data)
    run(tmp_path, tmp_path / "g", encoder, batch_size=256)
    assert read_manifest(tmp_path / "g").parts == ((0, FOLDER_SHARD), (1, 3))
    assert keys(tmp_path / "g") == [f"{i:05d}" for i in range(FOLDER_SHARD + 3)]


def test_another_encoder_is_refused(tmp_path: Path, encoder: ImageEncoder, chinese_clip_folder: Path) -> None:
    source = shards_with_failures(tmp_path / "s")
    run(source, tmp_path / "g", encoder)
    other = load_encoder(f"hf:{chinese_clip_folder}", device="cpu")
    with pytest.raises(InputError) as caught:
        run(source, tmp_path / "g", other)
    assert encoder.spec.fingerprint in str(caught.value)
    assert other.spec.fingerprint in str(caught.value)


def test_a_moved_model_is_the_same_encoder(tmp_path: Path, encoder: ImageEncoder, clip_folder: Path) -> None:
    source = shards_with_failures(tmp_path / "s")
    run(source, tmp_path / "g", encoder)
    moved = shutil.copytree(clip_folder, tmp_path / "elsewhere")
    assert run(source, tmp_path / "g", load_encoder(f"hf:{moved}", device="cpu")).num_images == 0


def test_a_folder_that_is_not_a_gallery_is_left_alone(tmp_path: Path, encoder: ImageEncoder) -> None:
    source = shards_with_failures(tmp_path / "s")
    (tmp_path / "g").mkdir()
    for name in ("thesis.txt", "draft.tmp"):
        (tmp_path / "g" / name).write_text("important")
    with pytest.raises(InputError, match="not empty and not a gallery"):
        run(source, tmp_path / "g", encoder)
    assert (tmp_path / "g" / "draft.tmp").exists()


def test_a_job_killed_before_the_gallery_existed_can_be_resumed(tmp_path: Path, encoder: ImageEncoder) -> None:
    source = shards_with_failures(tmp_path / "s")
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "gallery.json.tmp").write_text("{")
    assert run(source, tmp_path / "g", encoder).num_images == 18
    assert not (tmp_path / "g" / "gallery.json.tmp").exists()


def test_an_unreadable_shard_is_quarantined_and_embedded_later(tmp_path: Path, encoder: ImageEncoder) -> None:
    source, gallery = shards_with_failures(tmp_path / "s"), tmp_path / "g"
    good = (source / "00001.tar").read_bytes()
    (source / "00001.tar").write_bytes(b"\x1f\x8b no tar")
    summary = run(source, gallery, encoder)
    assert summary.num_images == 11
    assert [Path(part.shard["uri"]).name for part in summary.quarantined] == ["00001.tar"]
    before = keys(gallery)
    assert run(source, gallery, encoder).quarantined  # still unreadable, still reported
    (source / "00001.tar").write_bytes(good)
    summary = run(source, gallery, encoder)
    assert (summary.num_images, summary.quarantined) == (7, ())
    assert keys(gallery) == [*before, *(f"1{i}" for i in range(7))]
    assert read_manifest(gallery).num_rows == 18


def test_two_jobs_cannot_write_at_the_same_time(tmp_path: Path, encoder: ImageEncoder) -> None:
    from diantu.datasets.files import exclusive
    from diantu.indexing.store.layout import JOB_LOCK

    source = shards_with_failures(tmp_path / "s")
    with exclusive(tmp_path / "g", JOB_LOCK), pytest.raises(InputError, match="another job is writing"):
        run(source, tmp_path / "g", encoder)


def test_metadata_is_joined_on_the_key(tmp_path: Path, encoder: ImageEncoder) -> None:
    """Values of different types, nested values, and fields that only some samples have."""
    fields = [
        {"id": 1, "punsafe": 0, "flag": True, "mixed": 1, "tags": ["a"], "URL": "http://x", "width": 999, "big": 2**70},
        {"id": 2, "punsafe": 0.5, "flag": False, "mixed": "one", "late": "x", "lone": "\ud800"},
    ]
    members = [(f"{i}.json", json.dumps(row).encode()) for i, row in enumerate(fields)]
    members += [("1.jpg", jpeg(1)), ("0.jpg", jpeg(0)), ("2.jpg", jpeg(2))]
    run(write_tar(tmp_path / "s.tar", members), tmp_path / "g", encoder)
    rows = pq.read_table(tmp_path / "g" / "metadata" / "metadata_00000.parquet").to_pylist()
    assert [row["key"] for row in rows] == ["0", "1", "2"]
    assert [row["id"] for row in rows] == [1, 2, None]
    assert [row["punsafe"] for row in rows] == [0.0, 0.5, None]
    assert [row["flag"] for row in rows] == [True, False, None]
    assert [row["mixed"] for row in rows] == ["1", "one", None]
    assert [row["tags"] for row in rows] == ['["a"]', None, None]
    assert [row["url"] for row in rows] == ["http://x", None, None]
    assert [row["width"] for row in rows] == [40, 40, 40]
    assert rows[0]["big"] == str(2**70)
    assert rows[1]["late"] == "x"


def test_several_captions_are_a_list_and_their_mean_is_embedded(tmp_path: Path, encoder: ImageEncoder) -> None:
    (tmp_path / "s").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / f"s/{name}.jpg").write_bytes(jpeg())
    (tmp_path / "s/t.csv").write_text("image,caption\na.jpg,a red cat\na.jpg,two dogs\nb.jpg,two dogs\n")
    assert isinstance(encoder, TextEncoder)
    embed(find_shards(str(tmp_path / "s")), tmp_path / "g", encoder, texts=True)
    table = pq.read_table(tmp_path / "g/metadata/metadata_00000.parquet", columns=["caption", "captions"])
    assert table["caption"].to_pylist() == ["a red cat", "two dogs", None]
    assert table["captions"].to_pylist() == [["a red cat", "two dogs"], None, None]
    cat, dogs = encoder.encode_texts(["a red cat", "two dogs"])
    mean = (cat + dogs) / np.linalg.norm(cat + dogs)
    stored = np.load(tmp_path / "g/text_emb/text_emb_00000.npy")
    np.testing.assert_allclose(stored, [mean, dogs, np.zeros_like(dogs)], atol=2e-3)
    # Queries to measure with are the captions themselves, not the mean.
    (texts, _) = sample_queries(snapshot_of(tmp_path / "g", read_manifest(tmp_path / "g")), encoder, count=10)
    assert len(texts) == 3
    assert (texts.emb_QD @ cat).max() > 0.999


def test_what_is_left_out_beside_an_image_is_counted_and_said(
    tmp_path: Path, encoder: ImageEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    members = [(f"{i}.{end}", data) for i in range(5) for end, data in (("jpg", jpeg()), ("json", b"[1]"))]
    assert run(write_tar(tmp_path / "s.tar", members), tmp_path / "g", encoder).num_images == 5
    said = "5 images were embedded without some of their metadata (0, 1, 2, …): its .json holds a list and no object"
    assert said in caplog.messages


def test_odd_files_are_embedded_or_listed(tmp_path: Path, jobs: Zygote) -> None:
    """In a separate process, so that its memory can be measured."""
    source = tmp_path / "photos"
    shutil.copytree(photos.FOLDER, source, ignore=shutil.ignore_patterns("*.py", "__pycache__", "*.md", "*.jsonl"))
    exif = Image.Exif()
    exif[0x0112] = 6
    odd = {
        "zz_empty.jpg": b"",
        "zz_text.jpg": b"this is text",
        "zz_truncated.jpg": jpeg(size=(300, 300))[:-900],
        "zz_cmyk.jpg": encoded(picture(mode="CMYK"), "JPEG"),
        "zz_16_bit.png": encoded(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000), "PNG"),
        "zz_animated.gif": encoded(picture(1), "GIF", save_all=True, append_images=[picture(2)]),
        "zz_turned.jpg": encoded(picture(size=(60, 20)), "JPEG", exif=exif),
        "zz_huge.png": huge_png(30_000, 30_000),
    }
    for name, data in odd.items():
        (source / name).write_bytes(data)
    command = ["embed", "--source", source, "--output", tmp_path / "g", "--encoder", "histogram", "--num-workers", "1"]
    job = jobs.start(*command)
    peak = 0
    while job.poll() is None:
        peak = max(peak, resident_bytes(job.pid))
        time.sleep(0.1)  # the kernel walks through all pages for each answer
    stderr = job.stderr()
    assert job.poll() == 0, stderr
    assert "188 images in " in stderr.strip().splitlines()[-1]
    assert stderr.strip().endswith("4 failed")
    assert 100e6 < peak < 2e9
    assert {row["key"]: row["reason"] for row in read_failures(tmp_path / "g", 0)} == {
        "zz_empty": "empty",
        "zz_text": "undecodable",
        "zz_truncated": "truncated",
        "zz_huge": "too_large",
    }
    rows = {row["key"]: row for row in pq.read_table(tmp_path / "g/metadata/metadata_00000.parquet").to_pylist()}
    assert (rows["zz_turned"]["width"], rows["zz_turned"]["height"]) == (20, 60)
    assert rows["animal_panda"]["caption_zh"] == "大熊猫"
    assert rows["zz_cmyk"]["caption"] is None


def test_checksums_detect_changed_files(tmp_path: Path, encoder: ImageEncoder) -> None:
    run(shards_with_failures(tmp_path / "s"), tmp_path / "g", encoder)
    part = read_part(tmp_path / "g", 1)
    assert part is not None
    assert verify_part(tmp_path / "g", part) == []
    vectors = tmp_path / "g" / "img_emb" / "img_emb_00001.npy"
    vectors.write_bytes(vectors.read_bytes()[:-1] + b"x")
    assert verify_part(tmp_path / "g", part) == ["img_emb/img_emb_00001.npy has changed since it was written"]


def test_elongated_images_need_no_more_memory_than_others(tmp_path: Path, encoder: ImageEncoder) -> None:
    """With the short side scaled to the encoder's size, the long side would have millions of pixels."""
    for name, size in (("thin", (1, 20_000)), ("flat", (20_000, 1))):
        (tmp_path / f"{name}.png").write_bytes(encoded(Image.new("RGB", size), "PNG"))
    assert run(tmp_path, tmp_path / "g", encoder).num_images == 2
    for size in ((3, 100), (100, 3), (40, 320)):  # the central square is the same as without cutting off the ends first
        image = picture(size=size)
        scale = 64 / min(size)
        whole = image.resize((int(size[0] * scale), int(size[1] * scale)), Image.Resampling.BICUBIC)
        left, top = (whole.width - 64) // 2, (whole.height - 64) // 2
        expected = np.asarray(whole.crop((left, top, left + 64, top + 64)), float).transpose(2, 0, 1)
        assert np.abs(encoder.preprocess(np.asarray(image)) - expected).mean() < 2.5


def test_a_lost_ledger_is_noticed(tmp_path: Path, encoder: ImageEncoder) -> None:
    source = shards_with_failures(tmp_path / "s")
    run(source, tmp_path / "g", encoder)
    (tmp_path / "g" / "ledger.jsonl").unlink()
    with pytest.raises(InputError, match=r"ledger\.jsonl is missing"):
        run(source, tmp_path / "g", encoder)


def test_a_part_whose_record_was_removed_is_rebuilt(tmp_path: Path, encoder: ImageEncoder) -> None:
    source = shards_with_failures(tmp_path / "s")
    run(source, tmp_path / "g", encoder)
    shutil.copytree(tmp_path / "g", tmp_path / "whole")
    (tmp_path / "g/img_emb/img_emb_00001.npy").write_bytes(b"damaged")
    (tmp_path / "g/parts/00001.json").unlink()
    assert run(source, tmp_path / "g", encoder).num_images == 7
    assert same_tree(tmp_path / "g", tmp_path / "whole")


def test_moved_shards_are_noticed(tmp_path: Path, encoder: ImageEncoder, caplog: pytest.LogCaptureFixture) -> None:
    source = shards_with_failures(tmp_path / "s")
    run(source, tmp_path / "g", encoder)
    run(source.rename(tmp_path / "moved"), tmp_path / "g", encoder)
    assert "its images will be there twice" in caplog.text


def test_broken_metadata_is_counted_and_said(
    tmp_path: Path, encoder: ImageEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    data = jpeg()
    broken = data[:2] + b"\xff\xe1\x00\x0eExif\0\0nothing" + data[2:]
    write_tar(tmp_path / "s" / "a.tar", [("a.jpg", broken), ("b.jpg", data), ("c.jpg", broken)])
    assert run(tmp_path / "s", tmp_path / "g", encoder).num_failed == 0
    assert keys(tmp_path / "g") == ["a", "b", "c"]
    assert "2 images were embedded without some of their metadata (a, c)" in caplog.text
    assert "byte order" in caplog.text

"""The disk format, compared with golden files: galleries of released versions must stay readable, byte for byte."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from galleries import snapshot_of

from diantu.datasets import Failure, InputError, Reason, Shard
from diantu.indexing.encoders import EncoderSpec
from diantu.indexing.store.ledger import Ledger
from diantu.indexing.store.manifest import Manifest, read_manifest
from diantu.indexing.store.parts import read_failures, read_metadata, write_part, write_quarantined_part
from diantu.indexing.store.vectors import Vectors

GOLDEN = Path(__file__).parents[2] / "golden"
SPEC = EncoderSpec(
    name="hf:some/model",
    weights="some/model",
    weights_sha256="0" * 64,
    dim=4,
    image_size=224,
    resize="squash",
    resize_size=224,
    interpolation="bicubic",
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    text_context=52,
)


def write_gallery(root: Path) -> Path:
    """Two parts with fixed contents, the second of a quarantined shard."""
    shards = [Shard(uri=f"/shards/{i:05d}.tar", format="webdataset", size_bytes=10 * i) for i in range(2)]
    Ledger(root).assign(shards)
    emb_ND = np.array([[1, 0, 0, 0], [0, 0.6, 0.8, 0]], np.float32)
    fixed = {
        "shard": shards[0].uri,
        "offset": 512,
        "length": 9,
        "image_path": "a.jpg",
        "url": None,
        "width": 4,
        "height": 3,
    }
    records = [{"key": "a", **fixed, "caption": "一只猫", "punsafe": 0.5}, {"key": "b", **fixed, "caption": None}]
    failures = [Failure(key="c", shard=shards[0].uri, reason=Reason.EMPTY, detail="the file has no bytes")]
    write_part(root, 0, shards[0], fingerprint=SPEC.fingerprint, emb_ND=emb_ND, records=records, failures=failures)
    write_quarantined_part(root, 1, shards[1], SPEC, texts=False, reason="no tar")
    Manifest(encoders=(SPEC,)).with_committed(root).save(root)
    return root


@pytest.mark.parametrize("name", ["gallery.json", "ledger.jsonl", "parts/00000.json", "parts/00001.json"])
def test_json_files_equal_the_golden_ones(tmp_path: Path, name: str) -> None:
    def parsed(path: Path) -> object:
        values = (
            [json.loads(line) for line in path.read_text().splitlines()]
            if name.endswith("l")
            else json.loads(path.read_text())
        )
        for record in values if isinstance(values, list) else [values]:
            for later in ("checksum", "checksums"):  # the golden files are older than checksums
                record.pop(later, None)
            for file, facts in record.get("files", {}).items():
                if file.endswith(".parquet"):  # releases of pyarrow write the same table with different bytes
                    facts.clear()
        return values

    written, golden = write_gallery(tmp_path) / name, GOLDEN / name
    assert parsed(written) == parsed(golden)


def test_vectors_equal_the_golden_ones(tmp_path: Path) -> None:
    name = "img_emb/img_emb_00000.npy"
    assert (write_gallery(tmp_path) / name).read_bytes() == (GOLDEN / name).read_bytes()


def test_a_golden_gallery_can_be_read(tmp_path: Path) -> None:
    manifest = read_manifest(GOLDEN)
    assert manifest == Manifest(encoders=(SPEC,), parts=((0, 2), (1, 0)), has_checksums=False)
    np.testing.assert_allclose(
        Vectors(snapshot_of(GOLDEN, manifest)).rows(np.array([1, 0]))[0], [0, 0.6, 0.8, 0], atol=1e-3
    )
    rows = read_metadata(GOLDEN, 0, ["key", "caption", "punsafe", "no such column"]).to_pylist()
    assert rows == [{"key": "a", "caption": "一只猫", "punsafe": 0.5}, {"key": "b", "caption": None, "punsafe": None}]
    assert [failure["reason"] for failure in read_failures(GOLDEN, 0)] == ["empty"]
    progress = Ledger(GOLDEN).progress()
    assert (progress.num_rows, progress.failures, len(progress.quarantined)) == (2, {"empty": 1}, 1)


def test_a_part_without_record_does_not_exist(tmp_path: Path) -> None:
    root = write_gallery(tmp_path)
    (root / "parts" / "00000.json").unlink()
    assert Manifest(encoders=(SPEC,)).with_committed(root).parts == ()
    assert [job.part for job in Ledger(root).assign([])] == [0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no gallery"),
        ("{", "is damaged"),
        ('{"format": "diantu-gallery", "version": 99}', "this diantu reads diantu-gallery up to 1"),
        ('{"format": "diantu-gallery", "version": 1}', "is damaged"),
    ],
)
def test_invalid_galleries_are_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content:
        (tmp_path / "gallery.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_manifest(tmp_path)


def test_the_fingerprint_covers_everything_that_decides_the_vectors() -> None:
    assert replace(SPEC, name="hf:elsewhere", weights="elsewhere", licence="MIT").fingerprint == SPEC.fingerprint
    for change in (
        {"weights_sha256": "1" * 64},
        {"resize": "shortest_edge_crop"},
        {"mean": (0.1, 0.5, 0.5)},
        {"dim": 5},
    ):
        assert replace(SPEC, **change).fingerprint != SPEC.fingerprint
    assert replace(SPEC, name="cn_clip:x").fingerprint != SPEC.fingerprint
    assert EncoderSpec.from_json(json.loads(json.dumps(SPEC.to_json()))) == SPEC


@pytest.mark.parametrize(
    ("name", "slug"),
    [("conse", "conse"), ("cn_clip:ViT-B-16", "cn_clip_ViT-B-16"), ("hf:/models/my clip/", "hf_my_clip")],
)
def test_slugs_are_valid_folder_names(name: str, slug: str) -> None:
    assert replace(SPEC, name=name).slug == slug

"""Galleries and runs that an older release wrote can be opened, searched, continued and compacted.

`tests/golden/0.1.0/README.md` says what the folder holds and how it was made. Its shards are at `s3://photos`, so that
no path of a machine is stored; an S3 server on this machine serves them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import CommandLine

from diantu.indexing.build import fill
from diantu.search import Gallery

RELEASE = Path(__file__).parents[1] / "golden" / "0.1.0"
ENCODERS = ("--encoder", "conse", "hf:tiny-dinov2", "--texts", "captions")
NUM_ROWS, ROWS_PER_PART, DELETED_ROW = 24, 8, 10


@pytest.fixture(scope="module", autouse=True)
def photos_on_s3() -> Iterator[None]:
    """The shards of the release at `s3://photos`."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        host, port = server.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "x")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        try:
            filesystem, _ = fsspec.core.url_to_fs("s3://photos")
            filesystem.mkdir("photos")
            for path in sorted((RELEASE / "shards").iterdir()):
                filesystem.pipe_file(f"photos/{path.name}", path.read_bytes())
            yield
        finally:
            server.stop()
            fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what the release wrote, as the current folder: its encoder `hf:tiny-dinov2` is a relative path."""
    copy = tmp_path / "copy"
    for name in ("gallery", "run", "tiny-dinov2"):
        shutil.copytree(RELEASE / name, copy / name)
    shutil.copy(RELEASE / "prompts.jsonl", copy)
    monkeypatch.chdir(copy)
    return copy


def contents(root: Path) -> dict[str, bytes]:
    """Every file's bytes, without the locks."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def embed_again(diantu: CommandLine) -> None:
    done = diantu("embed", "--source", "s3://photos/{00000..00002}.tar", "--output", "gallery", *ENCODERS)
    assert done.returncode == 0, done.stderr


def status(diantu: CommandLine, gallery: str = "gallery") -> dict[str, Any]:
    done = diantu("status", "--gallery", gallery, "--verify", "--json")
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


def metadata_of(part: int) -> list[dict[str, Any]]:
    return pq.read_table(f"gallery/metadata/metadata_{part:05d}.parquet").to_pylist()


def index_report() -> dict[str, Any]:
    return json.loads(Path("gallery/index/conse/index.json").read_text(encoding="utf-8"))


def journal() -> list[bytes]:
    """The lines of the run's manifest."""
    return Path("run/manifest.jsonl").read_bytes().splitlines()


def test_a_text_finds_its_image_with_metadata_and_original_bytes(folder: Path) -> None:
    gallery = Gallery.open(folder / "gallery")
    assert (len(gallery), gallery.spaces) == (NUM_ROWS - 1, ["conse", "hf:tiny-dinov2"])
    (hit,) = gallery.search("a castle", k=1)
    assert (hit.key, hit.row) == ("landmark_neuschwanstein_castle", 17)
    assert (hit.metadata["licence"], hit.metadata["author"]) == ("CC0-1.0", "cameralends")
    assert hit.metadata["punsafe"] == pytest.approx(0.01)
    with tarfile.open(RELEASE / "shards" / "00002.tar") as tar:
        original = tar.extractfile(f"{hit.key}.jpg")
        assert original
        assert hit.bytes() == original.read()
    assert hit.image().size == (160, 107)


@pytest.mark.parametrize("space", [None, "hf:tiny-dinov2"])
def test_an_image_finds_itself_in_both_spaces(folder: Path, space: str | None) -> None:
    gallery = Gallery.open(folder / "gallery")
    with tarfile.open(RELEASE / "shards" / "00001.tar") as tar:
        image = tar.extractfile("landmark_eiffel_tower.jpg")
        assert image
        (hit,) = gallery.search(image=image.read(), k=1, space=space)
    assert hit.key == "landmark_eiffel_tower"
    assert hit.score == pytest.approx(1, abs=2e-3)


def test_the_deleted_row_is_never_found(folder: Path) -> None:
    gallery = Gallery.open(folder / "gallery")
    emb_ND = np.load("gallery/img_emb/img_emb_00001.npy").astype(np.float32)
    for effort in ("balanced", "exact"):
        hits = gallery.search(vector=emb_ND[DELETED_ROW - ROWS_PER_PART], k=NUM_ROWS, effort=effort)
        assert sorted(hit.row for hit in hits) == [row for row in range(NUM_ROWS) if row != DELETED_ROW]


def test_near_duplicates_were_examined(folder: Path) -> None:
    gallery = Gallery.open(folder / "gallery")
    assert gallery.duplicates is not None
    assert (gallery.duplicates.num_rows, gallery.num_unexamined) == (NUM_ROWS, 0)


def test_every_checksum_is_right(folder: Path, diantu: CommandLine) -> None:
    report = status(diantu)
    assert report == {
        "gallery": "gallery", "encoder": "conse", "running": False, "rows": NUM_ROWS, "deleted": 1, "shards": 3,
        "shards_done": 3, "failed": 1, "failures_by_reason": {"undecodable": 1}, "quarantined": [], "problems": [],
        "not_checked": 12,
    }  # fmt: skip
    of_run = diantu("status", "--run", "run", "--verify", "--json")
    assert json.loads(of_run.stdout) == {
        "run": "run", "running": False, "pictures": 3, "by_status": {"done": 1}, "left": 2, "problems": [],
        "not_checked": 4,
    }  # fmt: skip


def test_embedding_the_same_sources_changes_no_byte(folder: Path, diantu: CommandLine) -> None:
    before = contents(folder / "gallery")
    embed_again(diantu)
    assert contents(folder / "gallery") == before


@pytest.mark.slow
def test_a_part_without_its_record_is_embedded_again(folder: Path, diantu: CommandLine) -> None:
    """Its vectors may differ by bfloat16's rounding on another processor, but neither its rows nor their order may."""
    before, rows = contents(folder / "gallery"), metadata_of(2)
    vectors = {path: np.load(path) for path in sorted(Path("gallery").rglob("*_00002.npy"))}
    assert len(vectors) == 3
    for space in ("gallery", "gallery/spaces/hf_tiny-dinov2"):
        Path(space, "parts/00002.json").unlink()
    embed_again(diantu)
    # The release dropped the width and height of the sidecars, which are those of the original image.
    assert [{name: new[name] for name in old} for new, old in zip(metadata_of(2), rows, strict=True)] == rows
    assert {"table_width", "table_height"} == metadata_of(2)[0].keys() - rows[0].keys()
    for path, vectors_ND in vectors.items():
        np.testing.assert_allclose(np.load(path), vectors_ND, atol=1e-2)
    after = contents(folder / "gallery")
    assert after.keys() == before.keys()
    assert {name: data for name, data in after.items() if "00002" not in name} == {
        name: data for name, data in before.items() if "00002" not in name
    }
    assert status(diantu)["problems"] == []


def test_the_index_takes_in_the_third_part_without_training(
    folder: Path, diantu: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill, "MAX_DRIFT", 1.0)  # 8 rows always differ from the 16 before by more than a few per cent
    before = index_report()
    assert before["num_rows"] == 2 * ROWS_PER_PART
    done = diantu("index", "--gallery", "gallery")
    assert done.returncode == 0, done.stderr
    after = index_report()
    assert after["num_rows"] == NUM_ROWS
    assert after["training"]["rows"] == before["training"]["rows"]
    assert after["spec"]["factory"] == before["spec"]["factory"]
    assert [hit.key for hit in Gallery.open(folder / "gallery").search("a castle", k=1)] == [
        "landmark_neuschwanstein_castle"
    ]


def test_compaction_drops_the_deleted_row(folder: Path, diantu: CommandLine) -> None:
    before = contents(folder / "gallery")
    done = diantu("compact", "--gallery", "gallery", "--output", "compacted")
    assert done.returncode == 0, done.stderr
    assert contents(folder / "gallery") == before
    report = status(diantu, "compacted")
    assert (report["rows"], report["deleted"], report["problems"]) == (NUM_ROWS - 1, 0, [])
    emb_ND = np.load("gallery/img_emb/img_emb_00001.npy")
    kept_ND = np.delete(emb_ND, DELETED_ROW - ROWS_PER_PART, axis=0)
    np.testing.assert_array_equal(np.load("compacted/img_emb/img_emb_00001.npy"), kept_ND)
    (hit,) = Gallery.open(folder / "compacted").search("a castle", k=1)
    assert (hit.key, hit.row) == ("landmark_neuschwanstein_castle", 16)


@pytest.mark.slow
def test_the_killed_run_is_finished(folder: Path, diantu: CommandLine) -> None:
    before, done_before = contents(folder / "run"), journal()
    assert len(done_before) == 1
    done = diantu(
        "generate", "--gallery", "gallery", "--prompts", "prompts.jsonl", "--output", "run", "--strategy", "stylize",
        "overlay", "--batch-size", "1", "--set", "stylize.size=320", "overlay.size=320",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    after, rows = contents(folder / "run"), [json.loads(line) for line in journal()]
    assert journal()[:1] == done_before
    assert [(row["name"], row["status"]) for row in rows] == [(f"000{i}-1", "done") for i in (1, 2, 3)]
    kept = ("run.json", "plan.jsonl", "requests.jsonl", "pictures/0001-1.png")
    assert [after[name] for name in kept] == [before[name] for name in kept]
    plan = [json.loads(line) for line in before["plan.jsonl"].splitlines()]
    for row, planned in zip(rows, plan, strict=True):
        assert [reference["row"] for reference in row["references"]] == [r["row"] for r in planned["references"]]
        assert hashlib.sha256(after[row["file"]]).hexdigest() == row["sha256"]

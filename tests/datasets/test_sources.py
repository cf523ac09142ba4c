"""Sources as users write them → shards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pictures import jpeg, write_tar
from scanned import only

from diantu.datasets import InputError, Shard, ShardError, Span, find_shards, read_span, scan


def test_braces_globs_and_folders_of_tars(tmp_path: Path) -> None:
    for i in range(12):
        write_tar(tmp_path / f"{i:05d}.tar", [(f"{i}.jpg", jpeg(i))])
    names = [f"{i:05d}.tar" for i in range(12)]

    def found(*sources: str) -> list[str]:
        return [Path(shard.uri).name for shard in find_shards([str(tmp_path / source) for source in sources])]

    assert found("{00000..00011}.tar") == names
    assert found("*.tar") == names
    assert found("") == names
    assert found("0000[02].tar", "{00001,00002}.tar") == ["00000.tar", "00002.tar", "00001.tar"]


def test_existing_names_with_pattern_characters_are_taken_literally(tmp_path: Path) -> None:
    write_tar(tmp_path / "a[1]{x}.tar", [("k.jpg", jpeg())])
    assert Path(only(tmp_path / "a[1]{x}.tar").uri).name == "a[1]{x}.tar"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing/", "matches nothing"),
        ("*.tar", "matches nothing"),
        ("{00000..00003}.tar", "3 of the 4 files"),
        ("{0..99999999}.tar", "more than 1000000 files"),
        ("notes.rar", "neither a shard"),
        ("empty", "holds no shards"),
        ("nowhere://x", "cannot be opened"),
    ],
)
def test_sources_that_cannot_be_used_are_refused(tmp_path: Path, source: str, message: str) -> None:
    if source != "*.tar":
        write_tar(tmp_path / "00000.tar", [("k.jpg", jpeg())])
    (tmp_path / "notes.rar").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        find_shards([source if "://" in source else str(tmp_path / source)])


def test_a_shard_keeps_its_id_when_its_size_changes(tmp_path: Path) -> None:
    one = Shard(uri="/a.tar", format="webdataset", size_bytes=1)
    assert one.id == Shard(uri="/a.tar", format="webdataset", size_bytes=2).id
    assert one.id != Shard(uri="/b.tar", format="webdataset", size_bytes=1).id


def test_plain_and_compressed_tars_in_subfolders_are_found(tmp_path: Path) -> None:
    write_tar(tmp_path / "b.tar", [("b.jpg", jpeg())])
    write_tar(tmp_path / "sub" / "a.tar", [("a.jpg", jpeg())])
    (tmp_path / "c.tar.gz").write_bytes(b"x")
    found = [shard.uri.removeprefix(f"{tmp_path}/") for shard in find_shards(str(tmp_path))]
    assert found == ["b.tar", "c.tar.gz", "sub/a.tar"]


def test_a_folder_of_tars_and_images_gives_both(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tar(tmp_path / "0.tar", [("k.jpg", jpeg())])
    (tmp_path / "a.jpg").write_bytes(jpeg())
    assert [shard.format for shard in find_shards(str(tmp_path))] == ["webdataset", "folder"]
    assert "1 images and 1 other shards; all are embedded" in caplog.text


def test_shards_that_are_no_regular_files_are_not_opened(tmp_path: Path) -> None:
    names = ["a.tar", "b.tar.gz", "c.zip", "d.parquet"]
    for name in names:
        os.mkfifo(tmp_path / name)
        (shard,) = find_shards([str(tmp_path)])
        with pytest.raises(ShardError, match=f"{name} is not a regular file"):
            scan(shard)
        (tmp_path / name).unlink()
    with pytest.raises(OSError, match="is not a regular file"):
        read_span(Span(uri="/dev/zero", format="zip", member="a.jpg", offset=0, length=8))
    (tmp_path / "e.tar").symlink_to("gone.tar")
    with pytest.raises(ShardError, match=r"e\.tar cannot be read: .*No such file"):
        scan(only(tmp_path))


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    os.mkdir(folder)
    for name in ("a.jpg", "a.tar"):
        Path(folder, name).write_bytes(b"")
        with pytest.raises(InputError, match=r"/\ufffd.* is not valid UTF-8; rename"):
            find_shards([folder])
        Path(folder, name).unlink()

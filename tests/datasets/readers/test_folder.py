"""Folders of images, with files of captions beside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem
from pictures import jpeg
from scanned import only, samples

from diantu.datasets import Reason, SampleError, read_sample, scan
from diantu.datasets.errors import FileError
from diantu.datasets.readers.folder import find_files


def test_a_folder_with_subfolders_and_sidecars(tmp_path: Path) -> None:
    (tmp_path / "子目录").mkdir()
    (tmp_path / "子目录" / "猫.jpg").write_bytes(jpeg(1))
    (tmp_path / "子目录" / "猫.txt").write_text("一只猫", encoding="utf-8")
    (tmp_path / "b.jpg").write_bytes(jpeg(2))
    (tmp_path / "b.png").write_bytes(jpeg(3))
    (tmp_path / "b.json").write_text('{"text": "a dog", "score": 1}')
    (tmp_path / "notes.md").write_text("no image")
    found = samples(only(tmp_path))
    assert {key: s.caption for key, s in found.items()} == {"b": "a dog", "b.png": "a dog", "子目录/猫": "一只猫"}
    assert found["子目录/猫"].image == jpeg(1)
    assert found["b"].metadata["score"] == 1


def test_a_file_name_that_is_not_utf8_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    try:
        (tmp_path / os.fsdecode(b"\xff\xfe.jpg")).write_bytes(jpeg())
    except OSError:
        pytest.skip("this file system has no such names")
    found = scan(only(tmp_path))
    assert [entry.key for entry in found.entries] == ["a"]
    assert [failure.reason for failure in found.failures] == [Reason.UNREADABLE]


def test_links_are_followed_loops_are_cut_and_broken_ones_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outside, tree = tmp_path / "blobs", tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "0a1b").write_bytes(jpeg(1))
    (outside / "d.jpg").write_bytes(jpeg(4))
    (outside / "d.txt").write_text("outside")
    (tree / "sub" / "real.jpg").write_bytes(jpeg(2))
    for link, target in {
        "a.jpg": "../blobs/0a1b",
        "chain.jpg": "a.jpg",
        "away": outside,
        "alias": "sub",
        "sub/up": "..",
        "self": "self",
        "gone.jpg": "nowhere.jpg",
        "circle.jpg": "circle.jpg",
    }.items():
        (tree / link).symlink_to(target)
    os.mkfifo(tree / "pipe.jpg")
    shard = only(tree)
    found, failed = {}, {}
    for entry in scan(shard).entries:
        try:
            found[entry.key] = read_sample(entry)
        except SampleError as error:
            failed[entry.key] = error.detail
    assert {key: sample.image for key, sample in found.items()} == {
        "a": jpeg(1), "chain": jpeg(1), "away/d": jpeg(4), "alias/real": jpeg(2), "sub/real": jpeg(2),
    }  # fmt: skip
    assert found["away/d"].caption == "outside"
    assert failed.keys() == {"gone", "circle", "pipe"}
    assert "gone.jpg is a link to nowhere.jpg, which does not exist" in failed["gone"]
    assert "pipe.jpg is not a regular file" in failed["pipe"]
    assert "sub/up is not followed, because it leads back to a folder that it is in" in caplog.text


def test_links_that_multiply_are_cut(tmp_path: Path) -> None:
    for level in range(12):
        (tmp_path / "blobs" / str(level)).mkdir(parents=True)
        (tmp_path / "blobs" / str(level) / "x.jpg").write_bytes(jpeg())
    for level in range(11):
        for name in "abcd":
            (tmp_path / "blobs" / str(level) / name).symlink_to(f"../{level + 1}")
    assert len(only(tmp_path / "blobs" / "0").members) < 200


def test_a_folder_that_cannot_be_listed_is_no_empty_folder(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(FileError, match=r"gone cannot be read \(No such file or directory\)"):
        find_files(LocalFileSystem(), str(gone))


def test_folders_may_be_nested_deeper_than_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(1200):
        os.mkdir("d")
        os.chdir("d")
    Path("a.jpg").write_bytes(jpeg())
    assert only(tmp_path).members == ("d/" * 1200 + "a.jpg",)
    for _ in range(1200):  # pytest could not remove them
        for path in Path().iterdir():
            path.unlink() if path.is_file() else path.rmdir()
        os.chdir("..")


@pytest.mark.skipif(not Path("/proc/kmsg").exists(), reason="Linux has such files")
def test_a_file_without_a_size_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "log.jpg").symlink_to("/proc/kmsg")
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "a.txt").symlink_to("/proc/kmsg")
    found = {}
    for entry in scan(only(tmp_path)).entries:
        try:
            found[entry.key] = read_sample(entry).image
        except SampleError as error:  # only root may open it
            found[entry.key] = error.reason
    assert found == {"a": jpeg(), "log": b"" if os.geteuid() == 0 else Reason.UNREADABLE}

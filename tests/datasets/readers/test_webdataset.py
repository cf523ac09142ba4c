"""Tars: grouping of members into samples, damage, and reading by offset."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pictures import jpeg, write_tar
from scanned import only, samples

from diantu.datasets import Reason, ShardError, read_sample, scan


def test_members_of_a_sample_may_come_in_any_order(tmp_path: Path) -> None:
    fields = json.dumps({"url": "u", "similarity": 0.3, "tags": ["a", "b"]}).encode()
    tar = write_tar(
        tmp_path / "s.tar",
        [
            ("x/0001.json", fields),
            ("x/0002.PNG", jpeg(2)),
            ("x/0001.txt", "一只猫\n".encode()),
            ("README.md", b"not part of any sample"),
            ("x/0001.jpg", jpeg(1)),
        ],
    )
    found = samples(only(tar))
    assert list(found) == ["x/0001", "x/0002"]
    first = found["x/0001"]
    assert (first.image, first.caption, first.row) == (jpeg(1), "一只猫", 0)
    assert first.metadata == {"url": "u", "similarity": 0.3, "tags": '["a", "b"]'}
    with tar.open("rb") as file:
        file.seek(first.offset or 0)
        assert file.read(first.length) == jpeg(1)


def test_keys_keep_their_dots(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "s.tar", [("photo.1.jpg", jpeg(1)), ("photo.2.jpg", jpeg(2)), ("photo.2.txt", b"two")])
    assert {key: s.caption for key, s in samples(only(tar)).items()} == {"photo.1": None, "photo.2": "two"}


def test_long_and_chinese_names(tmp_path: Path) -> None:
    long = "很长的名字" * 30
    tar = write_tar(tmp_path / "s.tar", [(f"{long}.jpg", jpeg()), ("文/猫.jpg", jpeg())])
    assert list(samples(only(tar))) == [long, "文/猫"]


def test_samples_without_an_image_and_second_images_are_failures(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "s.tar", [("a.jpg", jpeg(1)), ("a.png", jpeg(2)), ("b.txt", b"alone")])
    found = scan(only(tar))
    assert [entry.key for entry in found.entries] == ["a"]
    assert {(f.key, f.reason) for f in found.failures} == {("a", Reason.DUPLICATE_KEY), ("b", Reason.NO_IMAGE)}


@pytest.mark.parametrize("keep", [0.35, 0.6, 0.8])  # one of them at the end of a member
def test_a_truncated_tar_gives_its_readable_prefix(tmp_path: Path, keep: float) -> None:
    tar = write_tar(tmp_path / "s.tar", [(f"{i}.jpg", jpeg(i, (200, 150))) for i in range(10)])
    whole = tar.read_bytes()
    entries = scan(only(tar)).entries
    size = round(len(whole) * keep)
    tar.write_bytes(whole[:size])
    found = scan(only(tar))
    complete = [e.key for e in entries if (e.image.offset or 0) + (e.image.length or 0) <= size]
    assert [entry.key for entry in found.entries] == complete
    assert [failure.reason for failure in found.failures] == [Reason.SHARD_TRUNCATED]
    assert all(read_sample(entry).image for entry in found.entries)


def test_a_damaged_header_in_the_middle_is_a_failure(tmp_path: Path) -> None:
    """Without an error, Python's tarfile stops there. What stands behind it is read."""
    tar = write_tar(tmp_path / "s.tar", [(f"{i}.jpg", jpeg(i)) for i in range(4)])
    second = scan(only(tar)).entries[1].image.offset or 0
    data = bytearray(tar.read_bytes())
    data[second - 512 : second] = b"\x55" * 512
    tar.write_bytes(data)
    found = scan(only(tar))
    assert [entry.key for entry in found.entries] == ["0", "2", "3"]
    (failure,) = found.failures
    size = (scan(only(tar)).entries[1].image.offset or 0) - second
    assert failure.reason == Reason.SHARD_TRUNCATED
    assert failure.detail.startswith(f"{size} bytes from byte {second - 512} on, where a header should be")


@pytest.mark.parametrize("data", [b"", b"no tar" * 500, b"\x1f\x8b" + b"0" * 2000])
def test_a_file_that_is_not_a_tar_is_a_shard_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "s.tar").write_bytes(data)
    with pytest.raises(ShardError, match=r"s\.tar"):
        scan(only(tmp_path / "s.tar"))


def test_members_that_are_not_images_are_failures(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "s.tar", [("a.cr2", b"x"), ("a.txt", b"t"), ("b.svg", b"<svg/>"), ("c.jpg", jpeg())])
    found = scan(only(tar))
    assert [entry.key for entry in found.entries] == ["c"]
    assert {f.key: f.detail for f in found.failures} == {
        "a": "none of this sample's members (.cr2, .txt) is an image",
        "b": "none of this sample's members (.svg) is an image",
    }


def test_endings_named_like_roles_are_ordinary_endings(tmp_path: Path) -> None:
    members = [("a.image", b"x"), ("b.caption", b"x"), ("b.fields", b"x"), ("b.jpg", jpeg()), ("b.txt", b"true")]
    found = scan(only(write_tar(tmp_path / "s.tar", members)))
    assert [(entry.key, read_sample(entry).caption) for entry in found.entries] == [("b", "true")]
    assert [f.detail for f in found.failures] == ["none of this sample's members (.image) is an image"]


def test_pictures_of_a_sample_share_what_has_its_name(tmp_path: Path) -> None:
    members = [
        ("0001.txt", b"stereo"), ("0001.left.png", jpeg(1)), ("0001.right.png", jpeg(2)),
        ("0001.json", b'{"lens": 50}'),
        ("v1.0/2.png", jpeg(3)), ("v1.0/2.depth.png", jpeg(4)), ("v1.0/2.depth.txt", b"own"), ("v1.0/2.txt", b"two"),
        ("v1.txt", b"of a folder's name"), (".hidden.png", jpeg(5)), ("3.a.b.png", jpeg(6)), ("3.a.txt", b"nearest"),
        ("3.txt", b"far"), ("3.cls", b"7"), ("4.left.cls", b"no image"),
    ]  # fmt: skip
    shard = only(write_tar(tmp_path / "s.tar", members))
    found = samples(shard)
    assert {key: sample.caption for key, sample in found.items()} == {
        "0001.left": "stereo", "0001.right": "stereo", "v1.0/2": "two", "v1.0/2.depth": "own", ".hidden": None,
        "3.a.b": "nearest",
    }  # fmt: skip
    assert found["0001.left"].metadata == found["0001.right"].metadata == {"lens": 50}
    assert [failure.key for failure in scan(shard).failures] == ["v1", "4.left"]


def test_plain_names(tmp_path: Path) -> None:
    names = ["./a.jpg", ".//b.jpg", "/c.jpg", "../d.jpg", "x/../e.jpg", "./f/./g.jpg", "std::h.jpg", ".jpg", "i/.jpg"]
    tar = write_tar(tmp_path / "s.tar", [(name, jpeg()) for name in names])
    assert list(samples(only(tar))) == ["a", "b", "c", "d", "e", "f/g", "std::h", ".jpg", "i/.jpg"]


def test_members_without_an_ending_or_a_name_are_listed(tmp_path: Path) -> None:
    names = ["0001", "README", "..", "b.jpg", "b"]
    path = write_tar(tmp_path / "s.tar", [(name, jpeg()) for name in names])
    found = scan(only(path))
    assert [entry.key for entry in found.entries] == ["b"]
    assert {failure.key: failure.reason for failure in found.failures} == {
        "0001": Reason.NO_IMAGE,
        "README": Reason.NO_IMAGE,
        "": Reason.UNREADABLE,
    }

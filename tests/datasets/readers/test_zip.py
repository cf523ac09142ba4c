"""Zip archives: from the source to the pixels of a hit; bombs, damage and names."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import fsspec
import pytest
from pictures import jpeg
from scanned import only, samples

from diantu.datasets import Failure, Place, Reason, SampleError, ShardError, find_shards, locate, read_span, scan
from diantu.datasets.readers import members
from diantu.datasets.readers import zip as zips


def write(path: Path, files: list[tuple[str | zipfile.ZipInfo, bytes]], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in files:
            archive.writestr(name, data, compress_type=kind)
    return path


def failures(path: Path) -> dict[str, Failure]:
    return {failure.key: failure for failure in scan(only(path)).failures}


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_samples_and_pixels_of_a_row(tmp_path: Path, kind: int) -> None:
    files = [
        ("./猫/1.txt", "一只猫".encode()),
        ("猫/2.jpg", jpeg(2)),
        ("猫/1.jpg", jpeg(1)),
        ("猫/1.json", b'{"n": 3}'),
    ]
    path = write(tmp_path / "S.ZIP", files, kind)
    fsspec.filesystem("memory").pipe_file("/zips/s.zip", path.read_bytes())
    for uri in (str(path), "memory://zips/s.zip"):
        (shard,) = find_shards(uri)
        found = samples(shard)
        assert {key: (s.image, s.caption) for key, s in found.items()} == {
            "猫/1": (jpeg(1), "一只猫"),
            "猫/2": (jpeg(2), None),
        }
        assert found["猫/1"].metadata == {"n": 3}
        for sample in found.values():
            place = Place(shard=shard.uri, offset=sample.offset, length=sample.length, image_path=sample.image_path)
            assert read_span(locate(place)) == sample.image


def test_an_archive_that_was_written_as_a_stream_behind_something_else(tmp_path: Path) -> None:
    """Checksums stand behind the members then, and all offsets are shifted."""

    class Stream(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:
            self.data += data
            return len(data)

    stream = Stream()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.jpg", "w", force_zip64=True) as f,
    ):
        f.write(jpeg(1))
    (tmp_path / "s.zip").write_bytes(b"#!/bin/sh\n" + bytes(stream.data))
    assert samples(only(tmp_path / "s.zip"))["a"].image == jpeg(1)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """Chinese Windows writes GBK, old DOS programs code page 437, neither says so."""
    path = write(tmp_path / "s.zip", [("AAAA/B.jpg", jpeg(1)), ("CC.jpg", jpeg(2))])
    data = path.read_bytes().replace(b"AAAA/B", "熊猫".encode("gbk") + b"\\B").replace(b"CC", b"\x81\x20")
    path.write_bytes(data)
    assert list(samples(only(path))) == ["熊猫/B", "ü "]


def test_what_is_not_read_is_listed(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr, link.create_system = 0o120777 << 16, 3
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = write(tmp_path / "s.zip", [("a.jpg", jpeg(1)), ("a.jpg", jpeg(2)), (link, b"a.jpg"), ("lzma.jpg", b"x")])
    data = path.read_bytes()
    at = data.rindex(b"lzma.jpg") - 46  # the directory's entry
    data = data[: at + 10] + struct.pack("<H", 14) + data[at + 12 :]
    path.write_bytes(data)
    assert list(samples(only(path))) == ["a"]
    assert {key: failure.detail for key, failure in failures(path).items()} == {
        "a": "a.jpg is a second image under this key",
        "link": "link.jpg is a symbolic link; pack the archive without --symlinks",
        "lzma": "lzma.jpg is compressed by the method LZMA; only Store, Deflate and bzip2 are read",
    }
    path = write(tmp_path / "secret.zip", [("b.jpg", jpeg(1))])
    path.write_bytes(path.read_bytes().replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0"))
    assert failures(path)["b"].detail == "b.jpg is encrypted"


def test_damaged_members_are_failures_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "s.zip", [("a.jpg", jpeg(1)), ("b.jpg", jpeg(2))], zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    first, second = scan(only(path)).entries
    with pytest.raises(SampleError, match=r"a\.jpg of .* cannot be read: its checksum is wrong"):
        read_span(first.image)
    assert read_span(second.image) == jpeg(2)


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "MAX_MEMBER_BYTES", 1 << 20)
    monkeypatch.setattr(members, "MAX_MEMBER_BYTES", 1 << 20)
    path = write(tmp_path / "s.zip", [("a.jpg", bytes(2 << 20)), ("b.jpg", bytes(2 << 20)), ("c.jpg", jpeg(1))])
    data = path.read_bytes()
    at = data.rindex(b"b.jpg") - 46
    path.write_bytes(data[: at + 24] + struct.pack("<L", 100) + data[at + 28 :])  # it says that it has 100 bytes
    entries = {entry.key: entry for entry in scan(only(path)).entries}
    assert failures(path)["a"].reason == Reason.TOO_LARGE
    with pytest.raises(SampleError, match=r"b\.jpg has more than 1048576 bytes when it is decompressed"):
        read_span(entries["b"].image)
    assert read_span(entries["c"].image) == jpeg(1)
    monkeypatch.setattr(zips, "MAX_UNPACKED_BYTES", 1 << 20)
    monkeypatch.setattr(zips, "MAX_RATIO", 1)
    assert "the members before a.jpg expand to 1048576 bytes" in failures(path)[""].detail


def test_members_that_share_their_bytes_are_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "s.zip", [("a.jpg", jpeg(1)), ("b.jpg", jpeg(2))])
    data = path.read_bytes()
    at = data.rindex(b"b.jpg") - 46
    path.write_bytes(data[: at + 42] + struct.pack("<L", 10) + data[at + 46 :])
    assert list(samples(only(path))) == ["a"]
    assert failures(path)["b"].detail == "b.jpg shares its bytes with another member"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is not a zip archive, or its end with the directory is missing"),
        (b"PK\5\6" + bytes(10), "is not a zip archive"),
        (b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 1, 1, 1 << 30, 0, 0), "would have 1073741824 bytes"),
        (b"PK\5\6" + struct.pack("<4H2LH", 2, 2, 1, 1, 0, 0, 0), "is one part of a zip archive in several"),
        (b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 1, 1, 0xFFFFFFFF, 0, 0), "the end of a zip64 archive is missing"),
    ],
)
def test_what_is_no_zip_archive_is_a_shard_error(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "s.zip").write_bytes(data)
    with pytest.raises(ShardError, match=rf"s\.zip .*{says}"):
        scan(only(tmp_path / "s.zip"))


def test_a_comment_that_looks_like_the_end_of_an_empty_archive(tmp_path: Path) -> None:
    path = write(tmp_path / "s.zip", [("a.jpg", jpeg())])
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"see PK\5\6" + bytes(18) + b" for an empty one"
    assert samples(only(path)).keys() == {"a"}
    path.write_bytes(path.read_bytes() + b"appended later")
    assert not samples(only(path))  # nothing says any more which of them is the end


def test_a_checksum_that_does_not_stand_behind_the_data(tmp_path: Path) -> None:
    data = bytearray(write(tmp_path / "s.zip", [("a.jpg", jpeg())]).read_bytes())
    data[6] |= 8
    (tmp_path / "s.zip").write_bytes(data)
    assert samples(only(tmp_path / "s.zip"))["a"].image == jpeg()


def test_members_without_a_name_or_an_ending_are_listed_and_folders_are_not(tmp_path: Path) -> None:
    by_unix, by_dos = zipfile.ZipInfo("one.jpg"), zipfile.ZipInfo("two")
    by_unix.create_system, by_unix.external_attr = 3, 0o040755 << 16
    by_dos.create_system, by_dos.external_attr = 0, 0x10
    files = [(by_unix, b""), (by_dos, b""), ("..", jpeg()), ("0001", jpeg()), ("b.jpg", jpeg()), ("b", b"of b")]
    found = failures(write(tmp_path / "s.zip", files))
    assert {key: failure.detail for key, failure in found.items()} == {
        "": "a member has no name",
        "0001": "none of this sample's members (no ending) is an image",
    }

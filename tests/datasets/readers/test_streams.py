"""Tars that are read from front to back: compressed and remote ones."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import tracemalloc
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from pictures import jpeg, write_tar
from scanned import only, samples

from diantu.datasets import Place, Reason, find_shards, locate, read_span, scan
from diantu.datasets.readers import webdataset


def test_compressed_tars_are_read_without_offsets(tmp_path: Path) -> None:
    members = [("a.txt", b"first"), ("a.jpg", jpeg(1)), ("notes.md", b"x"), ("b.jpg", jpeg(2)), ("b.json", b'{"n": 1}')]
    plain = write_tar(tmp_path / "s.tar", members).read_bytes()
    (tmp_path / "s.tar.gz").write_bytes(gzip.compress(plain))
    compressed = samples(*find_shards([str(tmp_path / "s.tar.gz")]))
    uncompressed = samples(*find_shards([str(tmp_path / "s.tar")]))
    assert list(compressed) == list(uncompressed) == ["a", "b"]
    for key, sample in compressed.items():
        assert (sample.image, sample.caption) == (uncompressed[key].image, uncompressed[key].caption)
        assert (sample.offset, sample.length) == (None, None)


def test_a_truncated_compressed_tar_gives_its_readable_prefix(tmp_path: Path) -> None:
    plain = write_tar(tmp_path / "s.tar", [(f"{i}.jpg", jpeg(i, (200, 150))) for i in range(10)]).read_bytes()
    data = gzip.compress(plain)
    (tmp_path / "s.tar.gz").write_bytes(data[: len(data) // 2])
    found = scan(*find_shards([str(tmp_path / "s.tar.gz")]))
    keys = [entry.key for entry in found.entries]
    assert keys == [str(i) for i in range(len(keys))]
    assert 2 <= len(keys) <= 6
    assert [failure.reason for failure in found.failures] == [Reason.SHARD_TRUNCATED]


def remote_tars(base: str, folder: Path) -> None:
    filesystem, path = fsspec.core.url_to_fs(base)
    for shard in range(2):
        members = [(f"{shard}{i}.jpg", jpeg(10 * shard + i)) for i in range(3)]
        tar = write_tar(folder / f"{shard:05d}.tar", members)
        filesystem.pipe_file(f"{path}/{shard:05d}.tar", tar.read_bytes())


def check_remote(base: str) -> None:
    for source in (f"{base}/*.tar", f"{base}/{{00000..00001}}.tar", base):
        shards = find_shards([source])
        assert [shard.uri for shard in shards] == [f"{base}/0000{i}.tar" for i in range(2)]
    for shard, found in ((i, samples(s)) for i, s in enumerate(shards)):
        assert [s.image for s in found.values()] == [jpeg(10 * shard + i) for i in range(3)]
    entry = next(iter(scan(shards[1]).entries))
    again = type(entry.image)(uri=entry.image.uri, offset=entry.image.offset, length=entry.image.length)
    assert read_span(again) == jpeg(10)  # as for a hit, whose bytes are read by range


def test_tars_in_memory(tmp_path: Path) -> None:
    remote_tars("memory://bucket/shards", tmp_path)
    check_remote("memory:///bucket/shards")  # as fsspec writes it


def test_tars_and_images_on_an_s3_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in (
            ("AWS_ACCESS_KEY_ID", "x"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
        ):
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        filesystem, _ = fsspec.core.url_to_fs("s3://bucket")
        filesystem.mkdir("bucket")
        remote_tars("s3://bucket/shards", tmp_path)
        check_remote("s3://bucket/shards")
        filesystem.pipe_file("bucket/photos/猫.jpg", jpeg(7))
        filesystem.pipe_file("bucket/photos/猫.txt", "一只猫".encode())
        (folder,) = find_shards(["s3://bucket/photos"])
        assert {k: (s.image, s.caption) for k, s in samples(folder).items()} == {"猫": (jpeg(7), "一只猫")}
    finally:
        server.stop()
        fsspec.get_filesystem_class("s3").clear_instance_cache()


def shuffled_tar(folder: Path) -> bytes:
    members = [
        (f"{i}.{ending}", jpeg(i) if ending == "jpg" else f"{ending} {i}".encode())
        for i in range(20)
        for ending in ("jpg", "txt")
    ]
    random.Random(1).shuffle(members)
    return write_tar(folder / "s.tar", members).read_bytes()


def test_the_order_of_members_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdataset, "_MAX_HELD_BYTES", 2000)  # what comes before its turn goes to a temporary file
    data = shuffled_tar(tmp_path)
    (tmp_path / "s.tar.gz").write_bytes(gzip.compress(data[:5000]) + gzip.compress(data[5000:]))
    (tmp_path / "s.tar.xz").write_bytes(lzma.compress(data))
    fsspec.filesystem("memory").pipe_file("/order/s.tar", data)
    local = {key: (s.image, s.caption) for key, s in samples(only(tmp_path / "s.tar")).items()}
    for source in (tmp_path / "s.tar.gz", tmp_path / "s.tar.xz", "memory://order/s.tar"):
        found = {key: (s.image, s.caption) for key, s in samples(only(source)).items()}
        assert list(found.items()) == list(local.items())


def test_the_content_decides_how_a_tar_is_decompressed(tmp_path: Path) -> None:
    plain = write_tar(tmp_path / "s.tar", [("a.jpg", jpeg(1))]).read_bytes()
    for name, data in (("s.tar", gzip.compress(plain)), ("s.tgz", plain), ("s.tar.zst", bz2.compress(plain))):
        (tmp_path / name).write_bytes(data)
        shard = only(tmp_path / name)
        sample = samples(shard)["a"]
        assert (sample.image, sample.offset) == (jpeg(1), None)
        with pytest.raises(FileNotFoundError, match="from which no single image can be read"):
            locate(Place(shard=shard.uri, offset=None, length=None, image_path="a.jpg"))


def test_a_large_tar_whose_members_stand_side_by_side_is_not_held(tmp_path: Path) -> None:
    members = ((f"{i}.{e}", bytes(500_000) if e == "jpg" else b"x") for i in range(20) for e in ("json", "jpg", "txt"))
    (tmp_path / "s.tar.gz").write_bytes(gzip.compress(write_tar(tmp_path / "s.tar", members).read_bytes(), 1))
    tracemalloc.start()
    for entry in scan(only(tmp_path / "s.tar.gz")).entries:
        assert entry.image.data is not None
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5_000_000


def test_a_zstd_file_that_begins_with_a_frame_to_be_skipped(tmp_path: Path) -> None:
    """As parallel compressors write it."""
    data = write_tar(tmp_path / "s.tar", [("a.jpg", jpeg())]).read_bytes()
    frame = pa.Codec("zstd").compress(data, asbytes=True)
    (tmp_path / "s.tar.zst").write_bytes(b"\x53\x2a\x4d\x18\4\0\0\0size" + frame)
    assert samples(only(tmp_path / "s.tar.zst"))["a"].image == jpeg()

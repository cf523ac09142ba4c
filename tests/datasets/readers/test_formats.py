"""Containers besides plain tars and folders: what img2dataset writes, parquet with pictures, compressed and remote."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import jpeg, write_tar

from diantu.datasets import InputError, Reason, Sample, Shard, ShardError, find_shards, read_sample, read_span, scan


def samples(shard: Shard) -> dict[str, Sample]:
    return {entry.key: read_sample(entry) for entry in scan(shard).entries}


def names(source: Path | str) -> list[str]:
    return [Path(shard.uri).name for shard in find_shards([str(source)])]


# img2dataset


def img2dataset_shard(folder: Path, name: str, *, finished: bool = True, with_json: bool = True) -> None:
    """Five rows of which two failed; the parquet file is in another order than the tar, as downloads end."""
    rows = [
        {
            "key": f"{name}{i:04d}",
            "caption": f"caption {i}",
            "url": f"http://x/{i}",
            "status": "success",
            "punsafe": i / 10,
        }
        for i in range(5)
    ]
    for row in (rows[1], rows[3]):
        row |= {"status": "failed_to_download", "caption": "a failed one"}
    members = []
    for i, row in enumerate(rows):
        if row["status"] == "success":
            members.append((f"{row['key']}.jpg", jpeg(i)))
            members += [(f"{row['key']}.json", json.dumps(row).encode())] if with_json else []
    write_tar(folder / f"{name}.tar", members)
    pq.write_table(pa.Table.from_pylist([rows[i] for i in (4, 1, 0, 3, 2)]), folder / f"{name}.parquet")
    if finished:
        (folder / f"{name}_stats.json").write_text("{}")


def test_shards_that_img2dataset_has_not_finished_are_left_alone_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, finished in (("99999", True), ("100000", True), ("100001", False)):
        img2dataset_shard(tmp_path, name, finished=finished)
    with caplog.at_level(logging.WARNING):
        for source in (tmp_path, tmp_path / "*.tar", tmp_path / "{99999,100000,100001}.tar"):
            caplog.clear()
            assert names(source) == ["99999.tar", "100000.tar"]
            assert "not finished 1 shards" in caplog.text
            assert "100001.tar" in caplog.text
    with pytest.raises(InputError, match="finished none"):
        find_shards([str(tmp_path / "100001.tar")])


def test_its_parquet_is_joined_on_the_key_where_there_is_no_json(tmp_path: Path) -> None:
    img2dataset_shard(tmp_path, "00000", with_json=False)
    found = samples(*find_shards([str(tmp_path)]))
    assert {key: s.caption for key, s in found.items()} == {f"00000{i:04d}": f"caption {i}" for i in (0, 2, 4)}
    assert [s.metadata["punsafe"] for s in found.values()] == [0.0, 0.2, 0.4]


def test_its_files_layout(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder, finished in (("00000", True), ("00001", False)):
        (tmp_path / folder).mkdir()
        for i in range(3):
            (tmp_path / folder / f"{folder}{i}.jpg").write_bytes(jpeg(i))
            (tmp_path / folder / f"{folder}{i}.json").write_text(json.dumps({"caption": f"c{i}", "url": "u"}))
        if finished:
            (tmp_path / f"{folder}_stats.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        found = samples(*find_shards([str(tmp_path)]))
    assert {key: s.caption for key, s in found.items()} == {f"00000/00000{i}": f"c{i}" for i in range(3)}
    assert "not finished 1 folders" in caplog.text


# Parquet with pictures


@pytest.mark.parametrize("kind", ["img2dataset", "hugging face", "plain"])
def test_parquet_files_with_pictures(tmp_path: Path, kind: str) -> None:
    rows = [{"caption": f"c{i}", "score": i} for i in range(7)]
    for i, row in enumerate(rows):
        if kind == "img2dataset":
            row |= {"key": f"k{i}", "jpg": None if i == 3 else jpeg(i), "error_message": "HTTP 404" if i == 3 else None}
        elif kind == "hugging face":
            row |= {"image": {"bytes": None if i == 3 else jpeg(i), "path": f"{i}.jpg"}}
        else:
            row |= {"picture of it": None if i == 3 else jpeg(i)}
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet", row_group_size=3)
    (shard,) = find_shards([str(tmp_path)])
    found = scan(shard)
    assert found.num_entries == 7
    read = [read_sample(entry) for entry in found.entries]
    expected = [i for i in range(7) if i != 3]
    assert [s.image for s in read] == [jpeg(i) for i in expected]
    assert [s.caption for s in read] == [f"c{i}" for i in expected]
    assert [s.metadata["score"] for s in read] == expected
    keys = [f"k{i}" if kind == "img2dataset" else f"train_{i:08d}" for i in range(7)]
    assert [s.key for s in read] == [keys[i] for i in expected]
    (failure,) = found.failures
    assert (failure.key, failure.reason) == (keys[3], Reason.NO_IMAGE)
    assert failure.detail == ("HTTP 404" if kind == "img2dataset" else "the row has no picture")


def test_parquet_without_pictures_and_broken_parquet_are_errors_of_the_shard(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": ["u"], "a": [b"x"], "b": [b"y"]}), tmp_path / "urls.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing more")
    for name, message in (("urls", "no column of pictures"), ("broken", "not a parquet file")):
        (shard,) = find_shards([str(tmp_path / f"{name}.parquet")])
        with pytest.raises(ShardError, match=message):
            list(scan(shard).entries)


# Compressed and remote tars


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


def test_a_compressed_tar_that_breaks_off_gives_its_readable_prefix(tmp_path: Path) -> None:
    plain = write_tar(tmp_path / "s.tar", [(f"{i}.jpg", jpeg(i, (200, 150))) for i in range(10)]).read_bytes()
    data = gzip.compress(plain)
    (tmp_path / "s.tar.gz").write_bytes(data[: len(data) // 2])
    found = scan(*find_shards([str(tmp_path / "s.tar.gz")]))
    keys = [entry.key for entry in found.entries]
    assert keys == [str(i) for i in range(len(keys))]
    assert 2 <= len(keys) <= 6
    assert [failure.reason for failure in found.failures] == [Reason.SHARD_TRUNCATED]


def test_a_key_that_comes_back_in_a_stream_is_listed(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "s.tar", [("a.jpg", jpeg(1)), ("b.jpg", jpeg(2)), ("a.txt", b"late")])
    (tmp_path / "s.tar.gz").write_bytes(gzip.compress(tar.read_bytes()))
    found = scan(*find_shards([str(tmp_path / "s.tar.gz")]))
    assert [entry.key for entry in found.entries] == ["a", "b"]
    assert [(f.key, f.reason) for f in found.failures] == [("a", Reason.DUPLICATE_KEY)]


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
    assert read_span(again) == jpeg(10)  # a hit's pixels come by range


def test_tars_in_memory(tmp_path: Path) -> None:
    remote_tars("memory://bucket/shards", tmp_path)
    check_remote("memory:///bucket/shards")  # as fsspec writes it


def test_tars_and_pictures_on_an_s3_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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

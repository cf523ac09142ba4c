"""Paths and URIs: names with ::, and chained URLs that are meant."""

from __future__ import annotations

import zipfile
from pathlib import Path

import fsspec
import pytest
from pictures import jpeg, write_tar
from scanned import only, samples

from diantu.datasets import find_shards
from diantu.datasets.places import is_chain, join, resolve, with_path


@pytest.mark.parametrize(
    "name", ["std::vector", "a::b::c", "::", "s3::x", "http://x::y", "zip::x", "simplecache::memory://a"]
)
def test_a_local_name_may_hold_double_colons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / name, tmp_path / "photos" / name):
        folder.mkdir(parents=True)
        (folder / f"{folder.name}.jpg").write_bytes(jpeg(1))
        (folder / f"{folder.name}.txt").write_text("x::y")
        found = samples(only(folder))
        assert [(sample.image, sample.caption) for sample in found.values()] == [(jpeg(1), "x::y")]
    if "/" not in name:
        tar = write_tar(tmp_path / f"{name}.tar", [("x::y.jpg", jpeg(2))])
        assert samples(only(tar))["x::y"].image == jpeg(2)
        assert samples(only(f"{tmp_path}/{name[:-1]}*.tar"))["x::y"].image == jpeg(2)


def test_a_uri_may_hold_double_colons(tmp_path: Path) -> None:
    (tmp_path / "std::x").mkdir()
    (tmp_path / "std::x" / "a::b.jpg").write_bytes(jpeg(1))
    write_tar(tmp_path / "std::x" / "a::b.tar", [("c::d.jpg", jpeg(2))])
    images = [sample.image for shard in find_shards(f"file://{tmp_path}/std::x") for sample in samples(shard).values()]
    assert images == [jpeg(2), jpeg(1)]


def test_chained_urls_still_work(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("sub/0.tar", write_tar(tmp_path / "0.tar", [("a.jpg", jpeg(1))]).read_bytes())
        archive.writestr("photos/b.jpg", jpeg(2))
        archive.writestr("photos/b.txt", "beside it")
    fsspec.filesystem("memory").pipe_file("/chain/all.zip", (tmp_path / "all.zip").read_bytes())
    fsspec.filesystem("memory").pipe_file("/chain/0.tar", (tmp_path / "0.tar").read_bytes())
    for behind in (f"::{tmp_path}/all.zip", "::memory://chain/all.zip"):
        (tar,) = find_shards(f"zip://sub/*.tar{behind}")
        assert tar.uri == f"zip://sub/0.tar{behind}"
        assert samples(tar)["a"].image == jpeg(1)
        (folder,) = find_shards(f"zip://photos{behind}")
        assert {key: (s.image, s.caption) for key, s in samples(folder).items()} == {"b": (jpeg(2), "beside it")}
    (tar,) = find_shards("simplecache::memory://chain/*.tar")
    assert tar.uri.startswith("simplecache::memory://")
    assert samples(tar)["a"].image == jpeg(1)


def test_parts_of_chained_urls() -> None:
    assert is_chain("zip://a.png::s3://b/c.zip")
    assert not is_chain("s3://b/c::d.png")
    assert join("zip://::s3://b/c.zip", "a.png") == "zip://a.png::s3://b/c.zip"
    assert join("simplecache::zip://x::s3://b/c.zip", "a.png") == "simplecache::zip://x/a.png::s3://b/c.zip"
    assert with_path("zip://0.tar::s3://b/c.zip", "0.parquet") == "zip://0.parquet::s3://b/c.zip"
    with pytest.raises(ValueError, match="no_such_protocol"):
        resolve("no_such_protocol://a::b")

"""Shard formats of other packages, which declare their reader as an entry point."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from galleries import SPEC
from pictures import jpeg, write_tar
from scanned import only, samples

from diantu.datasets import InputError, Shard, ShardError, find_shards, read_span, scan
from diantu.datasets.readers import extensions
from diantu.indexing.embed import embed
from diantu.indexing.encoders import Preprocess
from diantu.search import Gallery

ZIP_READER = Path(__file__).with_name("zip_reader.py").read_text(encoding="utf-8")
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs packages of one module each, which declare a reader. They are gone after the test."""

    def install(module: str, source: str, name: str = "zip", value: str = "READER") -> None:
        site = tmp_path / f"site_{module}"
        (site / f"{module}-1.0.dist-info").mkdir(parents=True)
        (site / f"{module}.py").write_text(source, encoding="utf-8")
        about = site / f"{module}-1.0.dist-info"
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[diantu.readers]\n{name} = {module}:{value}\n")
        monkeypatch.syspath_prepend(str(site))
        sys.modules.pop(module, None)
        extensions.installed.cache_clear()

    yield install
    extensions.installed.cache_clear()


class Colours:
    """An encoder without weights: the vector of an image is its pixels at 4 × 4, less their mean."""

    def __init__(self) -> None:
        self.spec = replace(SPEC, name="test:colours", dim=48, image_size=4, resize_size=4)
        self.preprocess = Preprocess(self.spec)  # decoding processes get it

    def encode_images(self, pixels_BCHW: torch.Tensor) -> np.ndarray:
        emb_BD = pixels_BCHW.reshape(len(pixels_BCHW), -1).numpy().astype(np.float32) - 127.5
        return emb_BD / np.linalg.norm(emb_BD, axis=1, keepdims=True)


def write_zip(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def damage(path: Path, name: str) -> None:
    """Overwrites the compressed bytes of a member."""
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(name).header_offset + 30 + len(name.encode())
    data = bytearray(path.read_bytes())
    data[start + 20 : start + 60] = b"\xff" * 40
    path.write_bytes(data)


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_zip_archives_from_the_source_to_the_bytes_of_a_hit(tmp_path: Path, install: Install, num_workers: int) -> None:
    install("zips", ZIP_READER)
    for number in range(2):
        images = [(f"猫/{number}{i}.jpg", jpeg(10 * number + i)) for i in range(3)]
        write_zip(tmp_path / "data" / f"{number}.ZIP", [*images, (f"猫/{number}0.txt", "一只猫".encode())])
    damage(tmp_path / "data" / "1.ZIP", "猫/12.jpg")
    shards = find_shards(str(tmp_path / "data"))
    assert [(Path(shard.uri).name, shard.format) for shard in shards] == [("0.ZIP", "zip"), ("1.ZIP", "zip")]
    first = samples(shards[0])
    assert [sample.image for sample in first.values()] == [jpeg(0), jpeg(1), jpeg(2)]
    assert [sample.caption for sample in first.values()] == ["一只猫", None, None]

    encoder = Colours()
    summary = embed(shards, tmp_path / "gallery", encoder, batch_size=2, num_workers=num_workers)
    assert (summary.num_images, summary.num_failed, summary.quarantined) == (5, 1, ())
    gallery = Gallery.open(tmp_path / "gallery", encoder=encoder)
    for row, seed in enumerate((0, 1, 2, 10, 11)):
        (hit,) = gallery.search(image=jpeg(seed), k=1)
        assert (hit.row, hit.bytes()) == (row, jpeg(seed))
    shutil.move(tmp_path / "data", tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match=r"cannot be read from .*0\.ZIP"):
        gallery.search(image=jpeg(0), k=1)[0].bytes()


def test_shards_of_an_extension_and_a_folder_of_images_beside_each_other(tmp_path: Path, install: Install) -> None:
    install("zips", ZIP_READER)
    write_zip(tmp_path / "a.zip", [("x.jpg", jpeg())])
    (tmp_path / "b.jpg").write_bytes(jpeg())
    (tmp_path / "c.parquet").write_bytes(b"not a shard beside others")
    assert [shard.format for shard in find_shards(str(tmp_path))] == ["zip", "folder"]


def test_without_the_extension_its_shards_are_refused(tmp_path: Path, install: Install) -> None:
    path = write_zip(tmp_path / "a.zip", [("x.jpg", jpeg())])
    shard = Shard(uri=str(path), format="zip", size_bytes=1)
    with pytest.raises(InputError, match=r"no reader is installed for the shard format 'zip' of .*allowed: webda"):
        scan(shard)
    install("zips", ZIP_READER)
    image = next(iter(scan(shard).entries)).image
    assert read_span(image) == jpeg()


READER_OF = "from diantu.datasets import Reader\nREADER = Reader(scan=len, read=len, locate=len, "


@pytest.mark.parametrize(
    ("name", "source", "problem"),
    [
        ("zip", "import nowhere", "its import fails with ModuleNotFoundError: No module named 'nowhere'"),
        ("zip", "1 / 0", "its import fails with ZeroDivisionError: division by zero"),
        ("zip", "", "its import fails with AttributeError"),
        ("zip", "READER = print", "it is a builtin_function_or_method, and must be a diantu.datasets.Reader"),
        ("zip", READER_OF + "format='rar', endings=('.zip',))", "its format 'rar' must be the same as the entry"),
        ("parquet", READER_OF + "format='parquet', endings=('.pq',))", "another reader has the format 'parquet'"),
        ("imported", READER_OF + "format='imported', endings=('.pq',))", "another reader has the format 'imported'"),
        ("zip", READER_OF + "format='zip', endings=('.tar',))", "its ending .tar belongs to webdataset already"),
        ("zip", READER_OF + "format='zip', endings=('.jpg',))", "its ending .jpg belongs to images already"),
        ("zip", READER_OF + "format='zip', endings='.zip')", "its ending '.' must be a dot and lower-case letters"),
        ("zip", READER_OF + "format='zip', endings=('.Zip',))", "its ending '.Zip' must be a dot and lower-case"),
    ],
)
def test_an_extension_that_cannot_be_used_gets_one_sentence(
    tmp_path: Path, install: Install, name: str, source: str, problem: str
) -> None:
    install("broken_reader", source, name)
    path = write_zip(tmp_path / "a.zip", [("x.jpg", jpeg())])
    message = rf"^the shard reader '{name}' \(broken_reader:READER\) of the package broken_reader cannot be used: "
    with pytest.raises(InputError, match=message) as refused:
        find_shards(str(path))
    assert problem in str(refused.value)
    assert str(refused.value).endswith("correct or uninstall that package")


def test_two_extensions_with_one_ending_are_refused(tmp_path: Path, install: Install) -> None:
    install("zips", ZIP_READER)
    install("comics", READER_OF + "format='comic', endings=('.cbz', '.zip'))", "comic")
    with pytest.raises(InputError, match=r"'zip' \(zips:READER\) .* its ending \.zip belongs to comic already"):
        find_shards(str(write_zip(tmp_path / "a.zip", [("x.jpg", jpeg())])))


def test_built_in_formats_do_not_need_the_extensions(tmp_path: Path, install: Install) -> None:
    install("broken_reader", "1 / 0")
    tar = only(write_tar(tmp_path / "a.tar", [("x.jpg", jpeg())]))
    assert samples(tar)["x"].image == jpeg()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "x.jpg").write_bytes(jpeg())
    assert samples(only(tmp_path / "photos"))["x"].image == jpeg()


def test_an_os_error_during_the_iteration_becomes_a_shard_error(tmp_path: Path, install: Install) -> None:
    lazy = (
        "from diantu.datasets import Reader, Scan\n"
        "def entries():\n    raise TimeoutError('no answer')\n    yield\n"
        "def scan(shard):\n    return Scan(entries=entries(), failures=[], num_entries=None)\n"
        "READER = Reader(format='zip', endings=('.zip',), scan=scan, read=len, locate=len)\n"
    )
    install("zips", lazy)
    found = scan(only(write_zip(tmp_path / "a.zip", [])))
    with pytest.raises(ShardError, match="cannot be read: no answer") as caught:
        list(found.entries)
    assert caught.value.may_pass

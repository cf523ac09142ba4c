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

from diantu.datasets import InputError, Shard, ShardError, find_shards, plugins, read_span, scan
from diantu.datasets.readers import extensions
from diantu.indexing.embed import embed
from diantu.indexing.encoders import Preprocess
from diantu.search import Gallery

COMIC_READER = Path(__file__).with_name("comic_reader.py").read_text(encoding="utf-8")
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs packages of one module each, which declare a reader. They are gone after the test."""

    def install(module: str, source: str, name: str = "cbz", value: str = "READER") -> None:
        site = tmp_path / f"site_{module}"
        (site / f"{module}-1.0.dist-info").mkdir(parents=True)
        (site / f"{module}.py").write_text(source, encoding="utf-8")
        about = site / f"{module}-1.0.dist-info"
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[diantu.readers]\n{name} = {module}:{value}\n")
        monkeypatch.syspath_prepend(str(site))
        sys.modules.pop(module, None)
        forget()

    yield install
    forget()


def forget() -> None:
    """Entry points are looked up once per process."""
    plugins.declared.cache_clear()
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
def test_comic_books_from_the_source_to_the_bytes_of_a_hit(tmp_path: Path, install: Install, num_workers: int) -> None:
    install("comics", COMIC_READER)
    for number in range(2):
        images = [(f"猫/{number}{i}.jpg", jpeg(10 * number + i)) for i in range(3)]
        write_zip(tmp_path / "data" / f"{number}.CBZ", [*images, (f"猫/{number}0.txt", "一只猫".encode())])
    damage(tmp_path / "data" / "1.CBZ", "猫/12.jpg")
    shards = find_shards(str(tmp_path / "data"))
    assert [(Path(shard.uri).name, shard.format) for shard in shards] == [("0.CBZ", "cbz"), ("1.CBZ", "cbz")]
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
    with pytest.raises(FileNotFoundError, match=r"cannot be read from .*0\.CBZ"):
        gallery.search(image=jpeg(0), k=1)[0].bytes()


def test_shards_of_an_extension_and_a_folder_of_images_beside_each_other(tmp_path: Path, install: Install) -> None:
    install("comics", COMIC_READER)
    write_zip(tmp_path / "a.cbz", [("x.jpg", jpeg())])
    (tmp_path / "b.jpg").write_bytes(jpeg())
    (tmp_path / "c.parquet").write_bytes(b"not a shard beside others")
    assert [shard.format for shard in find_shards(str(tmp_path))] == ["cbz", "folder"]


def test_without_the_extension_its_shards_are_refused(tmp_path: Path, install: Install) -> None:
    path = write_zip(tmp_path / "a.cbz", [("x.jpg", jpeg())])
    shard = Shard(uri=str(path), format="cbz", size_bytes=1)
    with pytest.raises(InputError, match=r"no reader is installed for the shard format 'cbz' of .*allowed: webda"):
        scan(shard)
    install("comics", COMIC_READER)
    image = next(iter(scan(shard).entries)).image
    assert read_span(image) == jpeg()


READER_OF = "from diantu.datasets import Reader\nREADER = Reader(scan=len, read=len, locate=len, "


@pytest.mark.parametrize(
    ("name", "source", "problem"),
    [
        ("cbz", "import nowhere", "cannot be imported (ModuleNotFoundError: No module named 'nowhere')"),
        ("cbz", "1 / 0", "cannot be imported (ZeroDivisionError: division by zero)"),
        ("cbz", "", "cannot be imported (AttributeError"),
        ("cbz", "READER = print", "it is a builtin_function_or_method, and must be a diantu.datasets.Reader"),
        ("cbz", READER_OF + "format='rar', endings=('.cbz',))", "its format 'rar' must be the same as the entry"),
        ("parquet", READER_OF + "format='parquet', endings=('.pq',))", "another reader has the format 'parquet'"),
        ("imported", READER_OF + "format='imported', endings=('.pq',))", "another reader has the format 'imported'"),
        ("cbz", READER_OF + "format='cbz', endings=('.tar',))", "its ending .tar belongs to webdataset already"),
        ("cbz", READER_OF + "format='cbz', endings=('.jpg',))", "its ending .jpg belongs to images already"),
        ("cbz", READER_OF + "format='cbz', endings='.cbz')", "its ending '.' must be a dot and lower-case letters"),
        ("cbz", READER_OF + "format='cbz', endings=('.Cbz',))", "its ending '.Cbz' must be a dot and lower-case"),
    ],
)
def test_an_extension_that_cannot_be_used_gets_one_sentence(
    tmp_path: Path, install: Install, name: str, source: str, problem: str
) -> None:
    install("broken_reader", source, name)
    path = write_zip(tmp_path / "a.cbz", [("x.jpg", jpeg())])
    message = rf"^the shard reader '{name}' \(broken_reader:READER\) of the package broken_reader cannot be "
    with pytest.raises(InputError, match=message) as refused:
        find_shards(str(path))
    assert problem in str(refused.value)
    assert str(refused.value).endswith("uninstall that package")


def test_an_ending_that_two_extensions_claim_is_refused(tmp_path: Path, install: Install) -> None:
    install("comics", COMIC_READER)
    install("others", READER_OF + "format='others', endings=('.oth', '.cbz'))", "others")
    path = write_zip(tmp_path / "a.cbz", [("x.jpg", jpeg())])
    with pytest.raises(InputError, match=r"the readers cbz and others both claim the ending of .*a\.cbz"):
        find_shards(str(path))
    assert read_span(next(iter(scan(Shard(uri=str(path), format="cbz", size_bytes=1)).entries)).image) == jpeg()


def test_a_broken_extension_takes_nothing_from_the_others(
    tmp_path: Path, install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install("broken_reader", "1 / 0", "aaa")
    install("comics", COMIC_READER)
    write_zip(tmp_path / "a.cbz", [("x.jpg", jpeg())])
    (tmp_path / "notes.xyz").write_bytes(b"?")
    assert [shard.format for shard in find_shards(str(tmp_path))] == ["cbz"]
    assert "'aaa' (broken_reader:READER) of the package broken_reader cannot be imported" in caplog.text


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
        "READER = Reader(format='cbz', endings=('.cbz',), scan=scan, read=len, locate=len)\n"
    )
    install("comics", lazy)
    found = scan(only(write_zip(tmp_path / "a.cbz", [])))
    with pytest.raises(ShardError, match="cannot be read: no answer") as caught:
        list(found.entries)
    assert caught.value.may_pass

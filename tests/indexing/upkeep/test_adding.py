"""Images that a program adds: every form, the guarantees of shards, and what is refused."""

from __future__ import annotations

import datetime
import io
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine
from histogram import Histogram
from pictures import encoded, jpeg, picture, same_tree, write_tar
from PIL import Image

from diantu.datasets import DiantuError, InputError, Reason, find_shards
from diantu.indexing import add_images, compact, delete, relocate
from diantu.indexing.embed import embed
from diantu.indexing.store.ledger import Ledger
from diantu.indexing.store.moves import Moves
from diantu.indexing.store.parts import read_failures
from diantu.indexing.upkeep import adding
from diantu.search import Gallery

RED, GREEN, BLUE = ((200, 20, 20), (20, 200, 20), (20, 20, 200))


ENDLESS: list = []
ENDLESS.append(ENDLESS)


def plain(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (40, 30), colour)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A gallery with a red, a green and a blue image, given in three forms."""
    (tmp_path / "green.png").write_bytes(encoded(plain(GREEN), "PNG"))
    images = [
        ("r", plain(RED), {"caption": "red", "price": 1.5, "when": datetime.date(2024, 3, 1)}),
        ("g", tmp_path / "green.png", {"price": None, "tags": ["a", "b"], "key": "own"}),
        ("b", np.full((30, 40, 3), BLUE, np.uint8), None),
    ]
    added = add_images(tmp_path / "gallery", images, Histogram())
    assert dict(added.rows) == {"r": 0, "g": 1, "b": 2}
    assert not added.failures
    return tmp_path / "gallery"


def test_every_form_is_found_with_its_metadata_and_pixels(root: Path) -> None:
    gallery = Gallery.open(root, encoder=Histogram())
    for word, colour in (("red", RED), ("green", GREEN), ("blue", BLUE)):
        (hit,) = gallery.search(word, k=1)
        assert hit.image().getpixel((20, 15)) == colour
        with Image.open(io.BytesIO(hit.thumbnail_bytes(16))) as thumbnail:
            assert (thumbnail.format, thumbnail.size) == ("JPEG", (16, 12))
    (hit,) = gallery.search("red", k=1, where="price > 1")
    assert (hit.key, hit.caption, hit.metadata["price"]) == ("r", "red", 1.5)
    assert gallery.search("green", k=1).to_dicts()[0]["table_key"] == "own"


def test_metadata_of_any_type_is_stored(tmp_path: Path) -> None:
    day = datetime.date(2024, 2, 29)
    values = {
        "whole": (np.int64(5), 5), "half": (np.float32(0.5), 0.5), "day": (np.datetime64(day), day),
        "list": (np.array([1, 2]), [1, 2]), "long": (10**30, str(10**30)), "empty": ({}, "{}"),
        "nested": ({"a": [np.int8(1), day]}, '{"a": [1, "2024-02-29"]}'), "nan": (float("nan"), None),
        "\ud83d": ("a\0b", "a\ufffdb"),
    }  # fmt: skip
    given = {name: value for name, (value, _) in values.items()}
    add_images(tmp_path / "g", [("a", jpeg(1), given), ("b", jpeg(2), {"whole": "five"})], Histogram())
    (first, second) = Gallery.open(tmp_path / "g").rows([0, 1])
    assert (first.pop("whole"), second["whole"]) == ("5", "five")
    assert {name: first[name] for name in ("half", "day", "list", "long", "empty", "nested", "nan", "\ufffd")} == {
        name.replace("\ud83d", "\ufffd"): stored for name, (_, stored) in values.items() if name != "whole"
    }


def test_the_same_call_again_adds_nothing(root: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.npy")}
    again = add_images(root, [("n", picture(1), None)], Histogram())
    assert dict(again.rows) == {"n": 3}
    assert dict(add_images(root, [("n", picture(1), None)], Histogram()).rows) == {"n": 3}
    assert len(Gallery.open(root)) == 4
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_an_interrupted_call_is_finished_by_the_same_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "SHARD_IMAGES", 2)
    images = [(f"k{i}", picture(i), {"number": i}) for i in range(5)]
    add_images(tmp_path / "whole", iter(images), Histogram())

    def failing():
        yield from images[:4]
        raise OSError("the camera is gone")

    with pytest.raises(OSError, match="camera"):
        add_images(tmp_path / "g", failing(), Histogram())
    assert len(Gallery.open(tmp_path / "g")) == 4
    added = add_images(tmp_path / "g", images, Histogram())
    assert dict(added.rows) == {f"k{i}": i for i in range(5)}
    assert same_tree(tmp_path / "g", tmp_path / "whole")


def test_what_is_no_image_is_listed(tmp_path: Path) -> None:
    images = [
        ("a", b"no image", None), ("b", tmp_path / "missing.png", None), ("c", jpeg(1), {"error_message": "own"}),
        ("d", b"", None), ("e", np.zeros((0, 4, 3), np.uint8), None), ("f", Image.new("RGB", (0, 5)), None),
        ("g", "nul\0.png", {"notes": {}}),
    ]  # fmt: skip
    added = add_images(tmp_path / "g", images, Histogram())
    assert dict(added.rows) == {"c": 0}
    reasons = {failure.key: failure.reason for failure in added.failures}
    assert reasons == {"a": Reason.UNDECODABLE, **dict.fromkeys("bdefg", Reason.NO_IMAGE)}
    assert [row["key"] for row in read_failures(tmp_path / "g", 0)] == [failure.key for failure in added.failures]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([("x", jpeg(1), None), ("x", jpeg(2), None)], "'x' is given twice"),
        ([("r", jpeg(2), None)], "'r' was added to .* before; delete it first"),
        ([("", jpeg(2), None)], "key '' cannot be used"),
        ([(7, jpeg(2), None)], "key 7 cannot be used"),
        ([("x", jpeg(1), {"n": b"one"})], "column 'n' cannot be stored, because b'one' is of type bytes"),
        ([("x", jpeg(1), {"n": [object]})], "column 'n' cannot be stored"),
        ([("x", jpeg(1), {"n": ENDLESS})], "a value is nested more than 20 deep"),
        ([("x", jpeg(1), {5: 1})], "keys are names of columns"),
        ([("x", jpeg(1), "n")], "keys are names of columns"),
        ([("x", jpeg(1))], "is no triple of key"),
        ({"x": jpeg(1)}, "images takes a list"),
        ([("x", 5, None)], "a int is not an image"),
        ([("x", jpeg(1))], "no triple of key, image and metadata"),
        ([("x", jpeg(1), ["red"])], r"metadata of 'x' is \['red'\]; give a dictionary"),
        ([("x", jpeg(1), {1: 2})], r"metadata of 'x' is \{1: 2\}; give a dictionary"),
    ],
)
def test_what_cannot_be_added_changes_nothing(root: Path, images: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        add_images(root, images, Histogram())
    with pytest.raises(DiantuError):
        add_images(root, images, Histogram())
    assert len(Gallery.open(root)) == 3


def test_a_deleted_image_can_be_added_again(root: Path) -> None:
    delete(root, keys=["r"])
    added = add_images(root, [("r", plain(RED), None)], Histogram())
    assert dict(added.rows) == {"r": 3}
    delete(root, keys=["r"])
    assert dict(add_images(root, [("r", plain(RED), None)], Histogram()).rows) == {"r": 4}


def test_a_gallery_that_was_moved_or_compacted_keeps_its_images(root: Path, tmp_path: Path) -> None:
    delete(root, keys=["g"])
    compact(root, tmp_path / "compacted")
    root.rename(tmp_path / "elsewhere")
    for folder, num_rows in (("elsewhere", 2), ("compacted", 2)):
        gallery = Gallery.open(tmp_path / folder, encoder=Histogram())
        assert len(gallery) == num_rows
        assert gallery.search("blue", k=1)[0].image().getpixel((20, 15)) == BLUE


def test_shards_that_moved_are_found_again(tmp_path: Path) -> None:
    for shard in range(3):
        write_tar(tmp_path / f"old/{shard}.tar", [(f"{shard}.jpg", encoded(plain((RED, GREEN, BLUE)[shard]), "JPEG"))])
    (tmp_path / "old" / "pictures").mkdir()
    root = tmp_path / "g"
    embed(find_shards(str(tmp_path / "old")), root, Histogram())
    (tmp_path / "old").rename(tmp_path / "new")
    gallery = Gallery.open(root, encoder=Histogram())
    with pytest.raises(DiantuError, match="put the file back"):
        gallery.search("red", k=1)[0].image()
    with pytest.raises(InputError, match="none of the 3 shards"):
        relocate(root, str(tmp_path / "old"), str(tmp_path / "wrong"))
    with pytest.raises(InputError, match=r"no shard of .* is in .*ol; its shards are in .*old"):
        relocate(root, str(tmp_path / "ol"), str(tmp_path / "new"))
    done = relocate(root, f"{tmp_path}/old/", str(tmp_path / "new"))
    assert (done.num_moved, done.missing) == (3, ())
    assert gallery.refresh()
    (hit,) = gallery.search("red", k=1)
    assert hit.metadata["shard"] == str(tmp_path / "new" / "0.tar")
    assert hit.image().getpixel((20, 15))[0] > 150
    assert embed(find_shards(str(tmp_path / "new")), root, Histogram()).num_images == 0
    assert len(Ledger(root).jobs) == 3
    (tmp_path / "new").rename(tmp_path / "newest")
    relocate(root, str(tmp_path / "new"), str(tmp_path / "newest"))
    assert gallery.refresh()
    assert gallery.search("green", k=1)[0].image().size == (40, 30)


def test_status_relocates(root: Path, tmp_path: Path, diantu: CommandLine) -> None:
    write_tar(tmp_path / "old/0.tar", [("a.jpg", jpeg(1))])
    embed(find_shards(str(tmp_path / "old")), root, Histogram())
    (tmp_path / "old").rename(tmp_path / "new")
    done = diantu("status", "--gallery", root, "--relocate", tmp_path / "old", tmp_path / "new")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, f"1 shard is in {tmp_path / 'new'} now")
    assert Gallery.open(root).search(vector=np.eye(8)[0], k=4, where="key = 'a'")[0].image().size == (40, 30)
    done = diantu("status", "--gallery", root, "--relocate", tmp_path / "old")
    assert done.returncode == 2
    assert "--relocate takes two places" in done.stderr


def test_places_are_those_that_the_gallery_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A move that is given relative to a folder holds in every folder; the root of a file system is a prefix."""
    root = tmp_path / "g"
    write_tar(tmp_path / "old/0.tar", [("a.jpg", jpeg(1))])
    embed(find_shards(str(tmp_path / "old")), root, Histogram())
    (tmp_path / "deep").mkdir()
    (tmp_path / "old").rename(tmp_path / "deep/new")
    with pytest.raises(InputError, match="a place is empty"):
        relocate(root, "", str(tmp_path))
    monkeypatch.chdir(tmp_path / "deep")
    assert relocate(root, "../old/./", "new/").num_moved == 1
    monkeypatch.chdir("/")
    assert Gallery.open(root).rows([0])[0]["shard"] == str(tmp_path / "deep/new/0.tar")
    moves = Moves(root=root).moved("/", "/mnt/disk").moved("s3://a/b/", "/data")
    assert moves.now("/x/0.tar") == "/mnt/disk/x/0.tar"
    assert moves.now("s3://a/b/0.tar") == "/data/0.tar"
    assert moves.now("s3://a/bc/0.tar") == "s3://a/bc/0.tar"
    assert moves.recorded("/mnt/disk/x/0.tar") == "/x/0.tar"

"""Tables of captions in folders of images."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from pictures import jpeg
from scanned import only, samples

from diantu.datasets import InputError, find_shards


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_table_of_captions_is_found_and_joined_by_name(tmp_path: Path, ending: str) -> None:
    rows = [{"file_name": f"{i:03d}.jpg", "caption_zh": f"第{i}张", "width": i} for i in (2, 0, 1)]
    if ending == "csv":
        lines = ["file_name,caption_zh,width", *(",".join(map(str, row.values())) for row in rows)]
        (tmp_path / "table.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    else:
        (tmp_path / "table.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for i in range(3):
        (tmp_path / f"{i:03d}.jpg").write_bytes(jpeg(i))
    found = samples(only(tmp_path))
    assert [s.caption for s in found.values()] == ["第0张", "第1张", "第2张"]
    assert [s.metadata["width"] for s in found.values()] == [0, 1, 2]
    assert [s.caption for s in samples(only(tmp_path, captions="none")).values()] == [None] * 3
    named = only(tmp_path, captions=str(tmp_path / f"table.{ending}"))
    assert [s.caption for s in samples(named).values()] == ["第0张", "第1张", "第2张"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,caption\na.jpg,x\n", "no column that names images"),
        ("file,caption,caption\na.jpg,x,y\n", "two columns have the name 'caption'"),
        ("file,caption\na.jpg\nb.jpg,x,y\n", "is not a CSV.*line 2 has 1 cells and the header has 2"),
        ("file,caption\n", "has no rows"),
        ("", "no column that names images"),
        ('"file,caption\n' + "a.jpg,x\n" * 20_000, "is not a CSV"),
        (None, "cannot be read"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(tmp_path: Path, table: str | None, message: str) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    if table is not None:
        (tmp_path / "t.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        find_shards([str(tmp_path)], captions=str(tmp_path / "t.csv"))


def test_two_fitting_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text(f"file,caption\na.jpg,{name}\n")
    with pytest.raises(InputError, match="several tables"):
        find_shards([str(tmp_path)])


def test_tables_of_different_images_are_used_together(tmp_path: Path) -> None:
    for name in "abcde":
        (tmp_path / f"{name}.jpg").write_bytes(jpeg())
    (tmp_path / "train.csv").write_text("file,caption\na.jpg,1\nb.jpg,2\n")
    (tmp_path / "val.jsonl").write_text('{"file": "c.jpg", "caption": "3"}\n')
    (tmp_path / "test.csv").write_text("file,caption\nd.jpg,4\nq.jpg,5\n")
    found = samples(only(tmp_path))
    assert [found[name].caption for name in "abcde"] == ["1", "2", "3", "4", None]
    (tmp_path / "all.csv").write_text("file,caption\n" + "".join(f"{name}.jpg,all\n" for name in "abcde"))
    assert {sample.caption for sample in samples(only(tmp_path)).values()} == {"all"}  # the others name a few


def test_the_captions_of_coco_are_a_table(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / "train" / name).write_bytes(jpeg())
    images = [
        {"id": 7, "file_name": "a.jpg", "license": 4, "width": 640},
        {"id": 2**60, "file_name": "b.jpg", "license": 9},
        {"id": "x", "file_name": "c.jpg"},
    ]
    annotations = [
        {"id": 1, "image_id": 7, "caption": "A cat."}, {"id": 2, "image_id": 2**60, "caption": "一只猫"},
        {"id": 3, "image_id": 7, "caption": "A cat on a mat.\n"}, {"id": 4, "image_id": 99, "caption": "?"}, 5,
    ]  # fmt: skip
    table = tmp_path / "captions_train.json"
    data = {"info": {}, "images": images, "annotations": annotations, "licenses": [{"id": 4, "name": "CC BY 4.0"}]}
    table.write_text(json.dumps(data))
    found = samples(only(tmp_path / "train", captions=str(table)))
    assert [found[name].caption for name in "abc"] == ["A cat.", "一只猫", None]
    assert found["a"].metadata["captions"] == ["A cat.", "A cat on a mat."]
    assert (found["a"].metadata["license"], found["b"].metadata["license"]) == ("CC BY 4.0", 9)
    table.write_text(json.dumps([{"file_name": "c.jpg", "caption": "c"}]))
    assert samples(only(tmp_path / "train", captions=str(table)))["c"].caption == "c"
    table.write_text('{"images": 5}')
    with pytest.raises(InputError, match="is not a JSON table: it holds neither"):
        only(tmp_path / "train", captions=str(table))


def test_captions_do_not_go_to_images_of_the_same_name_in_other_folders(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("x.jpg", "y.jpg", "sub/x.jpg"):
        (tmp_path / name).write_bytes(jpeg())
    (tmp_path / "t.csv").write_text("file,caption\n./x.jpg,top\ny.jpg,y\n")
    assert {k: s.caption for k, s in samples(only(tmp_path)).items()} == {"x": "top", "y": "y", "sub/x": None}
    (tmp_path / "sub/x.jpg").rename(tmp_path / "sub/z.jpg")
    (tmp_path / "t.csv").write_text("file,caption\nx.jpg,top\nz.jpg,z\n")
    assert {k: s.caption for k, s in samples(only(tmp_path)).items()} == {"x": "top", "y": None, "sub/z": "z"}


def test_an_unused_table_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(jpeg())
    (tmp_path / "few.csv").write_text("file,caption\na.jpg,x\n")
    (tmp_path / "other.csv").write_text("Photo,caption\na.jpg,x\n")
    assert only(tmp_path).captions == ()
    assert "few.csv names 1 of 3 images" in caplog.text
    assert "other.csv has no column that names images" in caplog.text
    (tmp_path / "none.csv").write_text("file,caption\nq.jpg,x\n")
    with pytest.raises(InputError, match="names none of the images"):
        only(tmp_path, captions=str(tmp_path / "none.csv"))


def test_a_table_without_captions_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "t.csv").write_text("filename,Description\na.jpg,nice\n")
    assert samples(only(tmp_path))["a"].metadata == {"Description": "nice"}
    assert "has no column of captions (caption, text, txt, alt, alt_text, top_caption)" in caplog.text


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_the_header_shows_the_delimiter(tmp_path: Path, delimiter: str, line_end: str) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    lines = [("file", "caption", "price"), ("a.jpg", '"one, two; three"', "1")]
    (tmp_path / "t.csv").write_bytes(line_end.join(map(delimiter.join, lines)).encode("utf-16"))
    sample = samples(only(tmp_path))["a"]
    assert (sample.caption, sample.metadata["price"]) == ("one, two; three", 1)


def test_each_table_serves_its_folder_and_the_deepest_wins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for place, name in (("train", "a.jpg"), ("test", "a.jpg"), ("test", "b.jpg"), ("", "c.jpg")):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / name).write_bytes(jpeg())
    (tmp_path / "train/metadata.csv").write_text("file_name,text\na.jpg,in train\n")
    (tmp_path / "test/metadata.jsonl").write_text(
        '{"file_name": "a.jpg", "text": "in test"}\n{"file_name": "gone.jpg", "text": "?"}\n'
        '{"file_name": "test/b.jpg", "text": "b"}\n'
    )
    (tmp_path / "captions.csv").write_text("file,caption\nc.jpg,c\ntest/a.jpg,of the top\n")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/x.csv").write_text("file,caption\nc.jpg,x\n")
    found = {key: sample.caption for key, sample in samples(only(tmp_path)).items()}
    assert found == {"train/a": "in train", "test/a": "in test", "test/b": "b", "c": "c"}
    assert "1 of its 3 rows name no image that was found: gone.jpg" in caplog.text
    assert "annotations/x.csv: below their folders are no images" in caplog.text


def test_several_captions_of_an_image_are_all_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(jpeg())
    (tmp_path / "c.txt").write_text("of the file")
    (tmp_path / "c.json").write_text('{"captions": ["one", "of the file", " "], "caption": 2023}')
    (tmp_path / "t.csv").write_text("image,caption,split\na.jpg,x,train\na.jpg,y,test\nb.jpg,z,train\na.jpg,x,train\n")
    found = samples(only(tmp_path))
    assert [sample.caption for sample in found.values()] == ["x", "z", "of the file"]
    assert found["a"].metadata == {"captions": ["x", "y"], "split": "train"}
    assert found["b"].metadata == {"caption": "z", "split": "train"}
    assert found["c"].metadata["captions"] == ["of the file", "2023", "one"]
    assert "1 images have several rows; all their captions are kept, of the columns split the first" in caplog.text


def test_names_are_found_in_other_unicode_and_another_case_unless_that_is_a_guess(tmp_path: Path) -> None:
    cafe = unicodedata.normalize("NFD", "café")
    for name in (f"{cafe}.jpg", "RED.JPG", "Blue.jpg", "blue.jpg", "Tree.jpg"):
        (tmp_path / name).write_bytes(jpeg())
    (tmp_path / "RED.TXT").write_text("a text")
    (tmp_path / "TREE.txt").write_text("one")
    (tmp_path / "tree.TXT").write_text("another")
    (tmp_path / "t.csv").write_text("file,caption\ncafé.jpg,c\nred.jpg,r\nblue.jpg,b\n")
    found = {unicodedata.normalize("NFC", key): sample for key, sample in samples(only(tmp_path)).items()}
    assert {key: sample.caption for key, sample in found.items()} == {
        "café": "c", "RED": "a text", "blue": "b", "Blue": None, "Tree": None,
    }  # fmt: skip
    assert found["RED"].metadata["caption"] == "r"


def test_text_files_in_gb18030_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "a.txt").write_bytes("一只狗".encode("gb18030"))
    assert samples(only(tmp_path))["a"].caption == "一只狗"
    (tmp_path / "a.txt").unlink()
    (tmp_path / "t.csv").write_bytes("file,caption\na.jpg,大熊猫\n".encode("gb18030"))
    assert samples(only(tmp_path))["a"].caption == "大熊猫"

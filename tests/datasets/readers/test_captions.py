"""Tables of captions in folders of images."""

from __future__ import annotations

import json
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
        ("file,caption\na.jpg,x\na.jpg,y\n", "names some images twice"),
        ("file,caption\na.jpg\nb.jpg,x,y\n", "is not a CSV"),
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
    assert only(tmp_path).captions is None
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


def test_text_files_in_gb18030_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "a.txt").write_bytes("一只狗".encode("gb18030"))
    assert samples(only(tmp_path))["a"].caption == "一只狗"
    (tmp_path / "a.txt").unlink()
    (tmp_path / "t.csv").write_bytes("file,caption\na.jpg,大熊猫\n".encode("gb18030"))
    assert samples(only(tmp_path))["a"].caption == "大熊猫"

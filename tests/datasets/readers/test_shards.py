"""Sources, tars and folders through the public doors: find_shards, scan, read_sample."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pictures import jpeg, write_tar

from diantu.datasets import InputError, Reason, Sample, SampleError, Shard, ShardError, find_shards, read_sample, scan


def samples(shard: Shard) -> dict[str, Sample]:
    return {entry.key: read_sample(entry) for entry in scan(shard).entries}


def only(source: Path | str, **options: str) -> Shard:
    (shard,) = find_shards([str(source)], **options)
    return shard


# Sources


def test_braces_globs_and_folders_of_tars(tmp_path: Path) -> None:
    for i in range(12):
        write_tar(tmp_path / f"{i:05d}.tar", [(f"{i}.jpg", jpeg(i))])
    names = [f"{i:05d}.tar" for i in range(12)]

    def found(*sources: str) -> list[str]:
        return [Path(shard.uri).name for shard in find_shards([str(tmp_path / source) for source in sources])]

    assert found("{00000..00011}.tar") == names
    assert found("*.tar") == names
    assert found("") == names
    assert found("0000[02].tar", "{00001,00002}.tar") == ["00000.tar", "00002.tar", "00001.tar"]


def test_names_with_pattern_characters_are_taken_literally_if_they_exist(tmp_path: Path) -> None:
    write_tar(tmp_path / "a[1]{x}.tar", [("k.jpg", jpeg())])
    assert Path(only(tmp_path / "a[1]{x}.tar").uri).name == "a[1]{x}.tar"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing/", "matches nothing"),
        ("*.tar", "matches nothing"),
        ("{00000..00003}.tar", "3 of the 4 files"),
        ("{0..99999999}.tar", "more than 1000000 files"),
        ("notes.zip", "neither a shard"),
        ("empty", "holds neither tars nor pictures"),
        ("nowhere://x", "cannot be opened"),
    ],
)
def test_sources_that_cannot_be_used_are_refused(tmp_path: Path, source: str, message: str) -> None:
    if source != "*.tar":
        write_tar(tmp_path / "00000.tar", [("k.jpg", jpeg())])
    (tmp_path / "notes.zip").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        find_shards([source if "://" in source else str(tmp_path / source)])


def test_a_shard_keeps_its_id_when_its_size_changes(tmp_path: Path) -> None:
    one = Shard(uri="/a.tar", format="webdataset", size_bytes=1)
    assert one.id == Shard(uri="/a.tar", format="webdataset", size_bytes=2).id
    assert one.id != Shard(uri="/b.tar", format="webdataset", size_bytes=1).id


# Tars


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


def test_samples_without_picture_and_second_pictures_are_listed(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "s.tar", [("a.jpg", jpeg(1)), ("a.png", jpeg(2)), ("b.txt", b"alone")])
    found = scan(only(tar))
    assert [entry.key for entry in found.entries] == ["a"]
    assert {(f.key, f.reason) for f in found.failures} == {("a", Reason.DUPLICATE_KEY), ("b", Reason.NO_IMAGE)}


@pytest.mark.parametrize("keep", [0.35, 0.6, 0.8])  # one of them just where a member ends
def test_a_tar_that_breaks_off_gives_its_readable_prefix(tmp_path: Path, keep: float) -> None:
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


def test_a_damaged_header_in_the_middle_is_noticed(tmp_path: Path) -> None:
    """Python's tarfile ends there and says nothing."""
    tar = write_tar(tmp_path / "s.tar", [(f"{i}.jpg", jpeg(i)) for i in range(4)])
    second = scan(only(tar)).entries[1].image.offset or 0
    data = bytearray(tar.read_bytes())
    data[second - 512 : second] = b"\x55" * 512
    tar.write_bytes(data)
    found = scan(only(tar))
    assert [entry.key for entry in found.entries] == ["0"]
    assert [failure.reason for failure in found.failures] == [Reason.SHARD_TRUNCATED]


@pytest.mark.parametrize("data", [b"", b"no tar" * 500, b"\x1f\x8b" + b"0" * 2000])
def test_what_is_no_tar_is_an_error_of_the_shard(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "s.tar").write_bytes(data)
    with pytest.raises(ShardError, match=r"s\.tar"):
        scan(only(tmp_path / "s.tar"))


def test_broken_json_is_a_failure_of_the_sample(tmp_path: Path) -> None:
    tar = write_tar(
        tmp_path / "s.tar", [("a.jpg", jpeg()), ("a.json", b"{broken"), ("b.jpg", jpeg()), ("b.json", b"3")]
    )
    for entry in scan(only(tar)).entries:
        with pytest.raises(SampleError) as caught:
            read_sample(entry)
        assert caught.value.reason == Reason.BAD_METADATA


# Folders


def test_a_folder_with_subfolders_and_sidecars(tmp_path: Path) -> None:
    (tmp_path / "子目录").mkdir()
    (tmp_path / "子目录" / "猫.jpg").write_bytes(jpeg(1))
    (tmp_path / "子目录" / "猫.txt").write_text("一只猫", encoding="utf-8")
    (tmp_path / "b.jpg").write_bytes(jpeg(2))
    (tmp_path / "b.png").write_bytes(jpeg(3))
    (tmp_path / "b.json").write_text('{"text": "a dog", "score": 1}')
    (tmp_path / "notes.md").write_text("no picture")
    found = samples(only(tmp_path))
    assert {key: s.caption for key, s in found.items()} == {"b": "a dog", "b.png": "a dog", "子目录/猫": "一只猫"}
    assert found["子目录/猫"].image == jpeg(1)
    assert found["b"].metadata["score"] == 1


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
        ("name,caption\na.jpg,x\n", "no column that names pictures"),
        ("file,caption\na.jpg,x\na.jpg,y\n", "names some pictures twice"),
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


def test_two_tables_that_fit_are_not_guessed_between(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text(f"file,caption\na.jpg,{name}\n")
    with pytest.raises(InputError, match="several tables"):
        find_shards([str(tmp_path)])


def test_a_file_name_outside_utf8_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    try:
        (tmp_path / os.fsdecode(b"\xff\xfe.jpg")).write_bytes(jpeg())
    except OSError:
        pytest.skip("this file system has no such names")
    found = scan(only(tmp_path))
    assert [entry.key for entry in found.entries] == ["a"]
    assert [failure.reason for failure in found.failures] == [Reason.UNREADABLE]


def test_captions_are_not_given_to_namesakes_in_other_folders(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("x.jpg", "y.jpg", "sub/x.jpg"):
        (tmp_path / name).write_bytes(jpeg())
    (tmp_path / "t.csv").write_text("file,caption\n./x.jpg,top\ny.jpg,y\n")
    assert {k: s.caption for k, s in samples(only(tmp_path)).items()} == {"x": "top", "y": "y", "sub/x": None}
    (tmp_path / "sub/x.jpg").rename(tmp_path / "sub/z.jpg")
    (tmp_path / "t.csv").write_text("file,caption\nx.jpg,top\nz.jpg,z\n")
    assert {k: s.caption for k, s in samples(only(tmp_path)).items()} == {"x": "top", "y": None, "sub/z": "z"}


def test_a_table_that_is_not_used_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(jpeg())
    (tmp_path / "few.csv").write_text("file,caption\na.jpg,x\n")
    (tmp_path / "other.csv").write_text("Photo,caption\na.jpg,x\n")
    assert only(tmp_path).captions is None
    assert "few.csv names 1 of 3 pictures" in caplog.text
    assert "other.csv has no column that names pictures" in caplog.text
    (tmp_path / "none.csv").write_text("file,caption\nq.jpg,x\n")
    with pytest.raises(InputError, match="names none of the pictures"):
        only(tmp_path, captions=str(tmp_path / "none.csv"))


def test_a_table_without_captions_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "t.csv").write_text("filename,Description\na.jpg,nice\n")
    assert samples(only(tmp_path))["a"].metadata == {"Description": "nice"}
    assert "has no column caption, text or alt" in caplog.text


def test_texts_of_chinese_windows_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "a.txt").write_bytes("一只狗".encode("gb18030"))
    assert samples(only(tmp_path))["a"].caption == "一只狗"
    (tmp_path / "a.txt").unlink()
    (tmp_path / "t.csv").write_bytes("file,caption\na.jpg,大熊猫\n".encode("gb18030"))
    assert samples(only(tmp_path))["a"].caption == "大熊猫"


def test_members_that_are_no_pictures_are_listed(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "s.tar", [("a.heic", b"x"), ("a.txt", b"t"), ("b.svg", b"<svg/>"), ("c.jpg", jpeg())])
    found = scan(only(tar))
    assert [entry.key for entry in found.entries] == ["c"]
    assert {f.key: f.detail for f in found.failures} == {
        "a": "none of this sample's members (.heic, .txt) is a picture",
        "b": "none of this sample's members (.svg) is a picture",
    }


def test_tars_in_subfolders_and_of_both_kinds_are_found(tmp_path: Path) -> None:
    write_tar(tmp_path / "b.tar", [("b.jpg", jpeg())])
    write_tar(tmp_path / "sub" / "a.tar", [("a.jpg", jpeg())])
    (tmp_path / "c.tar.gz").write_bytes(b"x")
    found = [shard.uri.removeprefix(f"{tmp_path}/") for shard in find_shards(str(tmp_path))]
    assert found == ["b.tar", "c.tar.gz", "sub/a.tar"]


def test_a_folder_of_tars_and_pictures_gives_both(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tar(tmp_path / "0.tar", [("k.jpg", jpeg())])
    (tmp_path / "a.jpg").write_bytes(jpeg())
    assert [shard.format for shard in find_shards(str(tmp_path))] == ["webdataset", "folder"]
    assert "1 pictures and 1 tars; both are embedded" in caplog.text


def test_endings_that_are_words_of_ours_are_like_any_other(tmp_path: Path) -> None:
    members = [("a.image", b"x"), ("b.caption", b"x"), ("b.fields", b"x"), ("b.jpg", jpeg()), ("b.txt", b"true")]
    found = scan(only(write_tar(tmp_path / "s.tar", members)))
    assert [(entry.key, read_sample(entry).caption) for entry in found.entries] == [("b", "true")]
    assert [f.detail for f in found.failures] == ["none of this sample's members (.image) is a picture"]

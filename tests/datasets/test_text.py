"""Text files in any encoding, and texts that are not valid Unicode."""

from __future__ import annotations

import csv
import io
import json
import os
import random
from pathlib import Path

import pytest
from fuzzing import rounds
from pictures import jpeg, write_tar
from scanned import only, samples

from diantu.datasets import InputError, find_shards
from diantu.datasets.encodings import common_encoding, decode_text
from diantu.datasets.photos import rows
from diantu.datasets.text import parse_json, split_lines, valid_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030"])
def test_chinese_is_read_in_every_encoding_that_has_it(encoding: str) -> None:
    captions = [row["caption_zh"] for row in rows().values()]
    assert [decode_text(caption.encode(encoding)) for caption in captions] == captions
    assert decode_text("\n".join(captions).encode(encoding)) == "\n".join(captions)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-16-le", "a red cat"),  # no mark, but half of the bytes are NUL
        ("utf-16-be", "a red cat"),
        ("utf-16-le", "一只戴帽子的橘猫"),  # 一 has a NUL
        ("utf-16-be", "file,caption\na.jpg,戴帽子的橘猫坐在窗台上晒太阳"),
        ("utf-32-le", "戴帽子的橘猫"),
        ("utf-32-be", "👩\u200d👧 a family"),
        ("euc_jp", "帽子をかぶった猫が窓辺に座っています"),
        ("cp932", "帽子をかぶった猫が窓辺に座っています"),  # Hangul in CP949, but none of it common
        ("big5", "夕陽下的海邊，一個女孩在散步"),
        ("cp932", "草原で眠る猫"),
        ("cp949", "해변을 걷는 소녀 두 명이 바다를 본다"),
        ("cp1252", "naïve – “café”"),
        ("gbk", "一只猫"),  # valid UTF-8 too, but of three scripts in one word
        ("utf-8", "Привет שלום café"),
    ],
)
def test_an_encoding_without_a_mark_is_recognized_by_its_characters(encoding: str, text: str) -> None:
    assert decode_text(text.encode(encoding)) == text


def test_halves_of_characters_do_not_change_the_encoding_of_a_file() -> None:
    assert decode_text("猫\ud83d\ude00 \ud83d".encode("utf-8", "surrogatepass")) == "猫😀 \ufffd"
    assert decode_text(b"fifty words, one \0 of them") == "fifty words, one \ufffd of them"
    assert decode_text("一只\0猫在草地上睡觉".encode("gbk")) == "一只\ufffd猫在草地上睡觉"


def test_a_text_that_was_cut_keeps_its_encoding() -> None:
    assert decode_text("一只猫在睡觉".encode()[:-1]) == "一只猫在睡\ufffd"


def test_the_texts_around_it_decide_about_an_ambiguous_one() -> None:
    chinese = [text.encode("gbk") for text in ("一只在草地上睡觉的猫", "红色的跑车")]
    cat = "猫".encode("gbk")  # `è` in UTF-8
    assert decode_text(cat, common_encoding([*chinese, cat])) == "猫"
    french = [text.encode() for text in ("très", "café", "Noël")]
    assert common_encoding([*french, *chinese[:1]]) is None
    assert decode_text(cat, None) == "è"


def test_sidecars_that_could_be_utf8_are_read_as_those_around_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = {"a": "猫", "b": "一只在草地上睡觉的猫", "c": "红色的跑车"}
    for name, word in words.items():
        (tmp_path / f"{name}.jpg").write_bytes(jpeg())
        (tmp_path / f"{name}.txt").write_bytes(word.encode("gbk"))
    assert {key: sample.caption for key, sample in samples(only(tmp_path)).items()} == words
    assert "could be UTF-8 or gb18030" in caplog.text
    members = [(f"{name}.{end}", data) for name, w in words.items() for end, data in
               (("jpg", jpeg()), ("txt", w.encode("gbk")))]  # fmt: skip
    found = samples(only(write_tar(tmp_path / "s.tar", members)))
    assert {key: sample.caption for key, sample in found.items()} == words


def test_only_a_line_feed_ends_a_line() -> None:
    assert split_lines("a\u2028b\r\nc\x85d\x0b\n") == ["a\u2028b", "c\x85d\x0b", ""]
    assert split_lines("a\rb") == ["a", "b"]  # old Mac files have no line feed


def test_texts_become_valid_unicode() -> None:
    assert valid_text("a\ud83d\0b\ud83d\ude00") == "a\ufffd\ufffdb😀"
    assert parse_json('{"a\\ud800": ["\\udc00\\u0000", "\\ud83d\\ude00"]}') == {"a\ufffd": ["\ufffd\ufffd", "😀"]}
    assert parse_json("9" * 5000) == "9" * 5000


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "", "'"])
def test_json_that_cannot_be_parsed_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"deep|Expecting|property"):
        parse_json(text)


ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")
# Line ends, separators, quotes, marks, accents in both forms, signs of two and four bytes, what CSV and JSON escape.
ALPHABET = "ab 猫ő\u0301é😀\t,;\"'\\|\u2028\u0085\r\n한​مה0.#"


@pytest.mark.fuzz
def test_captions_come_back_exactly_from_every_container(tmp_path: Path) -> None:
    rng = random.Random(1)
    for number in range(rounds(10)):
        folder = tmp_path / str(number)
        folder.mkdir()
        captions = {str(i): "".join(rng.choices(ALPHABET, k=rng.randint(1, 30))) for i in range(3)}
        expected = {key: caption.strip() or None for key, caption in captions.items()}
        for key in captions:
            (folder / f"{key}.jpg").write_bytes(b"never decoded here")
        _write(folder, captions, rng.choice(("txt", "json", "csv", "jsonl")), rng.choice(ENCODINGS), rng)
        found = {key: sample.caption for key, sample in samples(only(folder)).items()}
        assert found == expected, f"round {number}"


def _write(folder: Path, captions: dict[str, str], container: str, encoding: str, rng: random.Random) -> None:
    if container == "txt":
        for key, caption in captions.items():
            (folder / f"{key}.txt").write_bytes(caption.encode(encoding))
    elif container == "json":
        for key, caption in captions.items():
            text = json.dumps({"caption": caption}, ensure_ascii=rng.random() < 0.5)
            (folder / f"{key}.json").write_bytes(text.encode(encoding))
    elif container == "csv":
        buffer = io.StringIO(newline="")
        # Python quotes a carriage return in a cell only if it is part of the line end.
        line_end, quoting = rng.choice((("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)))
        writer = csv.writer(buffer, delimiter=rng.choice(",;\t"), lineterminator=line_end, quoting=quoting)
        writer.writerows([("file", "caption"), *((f"{key}.jpg", caption) for key, caption in captions.items())])
        (folder / "t.csv").write_bytes(buffer.getvalue().encode(encoding))
    else:
        lines = [json.dumps({"file": key, "caption": text}, ensure_ascii=False) for key, text in captions.items()]
        (folder / "t.jsonl").write_bytes(rng.choice(("\n", "\r\n")).join(lines).encode(encoding))


@pytest.mark.fuzz
def test_random_bytes_as_tables_and_sidecars_never_end_a_scan(tmp_path: Path) -> None:
    rng = random.Random(2)
    pieces = [
        *(
            b"file,caption\n",
            b"a.jpg",
            b'"',
            b",",
            b"\n",
            b"\r",
            b"\0",
            b"\t",
            b";",
            b"\x80",
            b"\xff\xfe",
            b"\xef\xbb\xbf",
        ),
        *(b'{"file": "a", ', b'"caption": ', b"}", b"[", b"\\ud800", b"1e999", b"NaN", "猫".encode("gbk")),
    ]
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"never decoded here")
    for number in range(rounds(20)):
        names = ("t.csv", "u.tsv", "v.jsonl", "a.txt", "a.json", "A.TXT")
        for name in names:
            data = rng.randbytes(20) if rng.random() < 0.2 else b"".join(rng.choices(pieces, k=rng.randint(0, 12)))
            (tmp_path / name).write_bytes(data)
        try:
            found = samples(only(tmp_path))
        except InputError as error:
            assert "several tables" in str(error), f"round {number}"  # noqa: PT017 - the only refusal that is right
            continue
        assert set(found) == {"a", "b"}, f"round {number}"
        for sample in found.values():
            json.dumps([sample.caption, sample.metadata], ensure_ascii=False).encode()
        for name in names[:3]:
            try:
                find_shards(str(tmp_path), captions=str(tmp_path / name))
            except InputError as error:
                assert "\n" not in str(error).strip(), f"round {number}"  # noqa: PT017


def test_a_file_that_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    for name in ("a.txt", "x.csv"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "y.csv").mkdir()
    assert samples(only(tmp_path))["a"].caption is None
    for name in ("x.csv", "y.csv"):
        with pytest.raises(InputError, match="is not a file"):
            find_shards(str(tmp_path), captions=str(tmp_path / name))

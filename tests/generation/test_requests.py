from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from diantu.datasets import InputError
from diantu.generation import GenerationRequest, read_requests
from diantu.generation.requests import named, parse_setting


def test_all_formats_give_the_same_request(tmp_path: Path) -> None:
    fields = {
        "prompt": "猫, a cat", "name": "cat", "negative_prompt": "blur", "num_pictures": 2, "seed": 7,
        "headline": "你好", "k": 2, "where": "width > 5", "diversity": 0.5, "min_zscore": 2.5, "rows": [1, 2],
        "queries": ["a", "b"],
    }  # fmt: skip
    strength = {"img2img": {"strength": 0.5}, "overlay": {"align": "left"}}
    (tmp_path / "a.jsonl").write_text(json.dumps({**fields, "settings": strength}), encoding="utf-8")
    cells = [
        '"猫, a cat"',
        "cat",
        "blur",
        "2",
        "7",
        "你好",
        "2",
        "width > 5",
        "0.5",
        "2.5",
        "1|2",
        "a | b",
        "0.5",
        "left",
    ]
    header = [*fields, "img2img.strength", "overlay.align"]
    (tmp_path / "a.csv").write_text(f"{','.join(header)}\n{','.join(cells)}\n", encoding="utf-8-sig")
    expected = GenerationRequest(**fields, settings=strength)
    assert read_requests(tmp_path / "a.jsonl") == [expected]
    assert read_requests(tmp_path / "a.csv") == [expected]


def test_a_text_file_has_one_prompt_per_line_in_both_encodings(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "gb18030"):
        (tmp_path / "a.txt").write_bytes("大熊猫\r\n\r\n a cat, # not a comment\n".encode(encoding))
        assert [request.prompt for request in read_requests(tmp_path / "a.txt")] == ["大熊猫", "a cat, # not a comment"]


def test_a_line_separator_inside_a_prompt_does_not_end_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "one\u2028line"}\n', encoding="utf-8")
    (tmp_path / "a.txt").write_text("one\u2028line\n", encoding="utf-8")
    for name in ("a.jsonl", "a.txt"):
        assert [request.prompt for request in read_requests(tmp_path / name)] == ["one\u2028line"]


def test_a_request_overrides_the_defaults_and_an_empty_cell_does_not(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,k,where\na,3,\nb,,\n")
    found = read_requests(tmp_path / "a.csv", k=2, where="width > 1", min_score=None)
    assert [(request.k, request.where) for request in found] == [(3, "width > 1"), (2, "width > 1")]


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("files,mask\nshop/a.jpg,/masks/a.png\n")
    (request,) = read_requests(tmp_path / "a.csv")
    assert request.files == (str(tmp_path / "shop/a.jpg"),)
    assert request.mask == "/masks/a.png"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "a\u2028cat\r\n一只猫\r\n"),
        ("a.jsonl", '{"prompt": "a\u2028cat"}\n{"prompt": "一只猫"}\n'),
        ("a.csv", "prompt;img2img.strength\r\na\u2028cat;0.5\r\n一只猫;0.5\r\n"),
        ("a.tsv", "prompt\tseed\na\u2028cat\t1\n一只猫\t2\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_prompts_are_read_in_any_encoding(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert [request.prompt for request in read_requests(tmp_path / name)] == ["a\u2028cat", "一只猫"]


def test_half_of_a_surrogate_pair_is_repaired(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "nice \\ud83d"}')
    (request,) = read_requests(tmp_path / "a.jsonl")
    assert request.prompt == GenerationRequest(prompt="nice \ud83d").prompt == "nice \ufffd"


@pytest.mark.parametrize(
    ("name", "text", "line", "what"),
    [
        ("a.csv", "prompt,promt\na,\na,b\n", "line 3", "'promt'.*prompt"),
        ("a.csv", 'prompt\n"two\nlines"\n"a","b"\n', "line 4", "more cells"),
        ("a.csv", 'prompt\n"open\n', "a.csv", "parsed"),
        ("a.csv", "prompt,k,Prompt ,prompt \na,1,,b\n", "a.csv", "the column 'prompt' is given twice"),
        ("a.csv", "prompt,seed\na,-1\n", "line 2", "seed is '-1'; give a whole number from 0 to 4294967295"),
        ("a.csv", "prompt,k\na,1.5\n", "line 2", "k is '1.5'"),
        ("a.csv", "prompt,min_zscore\na,nan\n", "line 2", "min_zscore is 'nan'"),
        ("a.csv", "prompt,strength\na,0.5\n", "line 2", "'strength'.*strategy.field"),
        ("a.jsonl", '{"prompt": "a"}\n{"prompt": 5}', "line 2", "prompt is 5; give a text"),
        ("a.jsonl", '{"prompt": "a"}\n["b"]', "line 2", "JSON object"),
        ("a.jsonl", '{"prompt": "a"}\n{"prompt": ', "line 2", "not JSON"),
        ("a.jsonl", "[" * 100_000, "line 1", "not JSON"),
        ("a.jsonl", '{"prompt": "a", "k": true}', "line 1", "k is True"),
        ("a.jsonl", '{"prompt": "a", "settings": {"img2img": 0.5}}', "line 1", "settings"),
        ("a.jsonl", '{"prompt": " "}', "line 1", "no prompt"),
        ("a.jsonl", '{"prompt": "a", "mask": "m.png"}', "line 1", "mask"),
        ("a.jsonl", '{"prompt": "a", "name": "../a"}', "line 1", "name"),
        ("a.txt", "\n\n", "a.txt", "empty"),
        ("a.xlsx", "a", "a.xlsx", ".txt, .csv, .tsv, .jsonl"),
    ],
)
def test_an_error_names_the_file_and_the_line(tmp_path: Path, name: str, text: str, line: str, what: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=what) as error:
        read_requests(tmp_path / name)
    assert line in str(error.value)
    assert name in str(error.value)


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(InputError, match=r"a\.txt cannot be read \(it is not a regular file\)"):
        read_requests(tmp_path / "a.txt")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.txt cannot be read"):
        read_requests(tmp_path / "nowhere.txt")


def test_names_differ_even_if_case_is_ignored() -> None:
    first, second = named([GenerationRequest(prompt="a"), GenerationRequest(prompt="b", name="Poster 海报")])
    assert (first[0], second[0]) == ("0001", "Poster 海报")
    for names in (("a", "A"), ("0002", "")):
        with pytest.raises(InputError, match="same name"):
            named([GenerationRequest(prompt="a", name=name) for name in names])


def test_queries_may_have_weights(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "queries": ["b", ["c", 0.5]]}')
    (request,) = read_requests(tmp_path / "a.jsonl")
    assert request.queries == ("b", ("c", 0.5))
    with pytest.raises(InputError, match="weight of queries is 'x'"):
        GenerationRequest(prompt="a", queries=[("b", "x")])


def test_settings_of_the_command_line_are_json_lists_or_texts() -> None:
    given = {"0.5": 0.5, "1e-3": 0.001, "true": True, "null": None, "[1, 2]": [1, 2], "left": "left", "": ""}
    given |= {"[a b.safetensors, 2]": ["a b.safetensors", 2], "#fff": "#fff", "no": "no", "[" * 99_999: "[" * 99_999}
    assert {text: parse_setting("a.b", text)[2] for text in given} == given
    for name in ("strength", ".b", "a."):
        with pytest.raises(InputError, match=r"img2img\.strength"):
            parse_setting(name, "1")

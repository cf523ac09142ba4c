"""Lines keep the rules for their first and last characters, lose nothing, and are balanced."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from diantu.generation.copy import chinese
from diantu.generation.copy.han import is_wide
from diantu.generation.strategies.poster.typography import NO_END, NO_START, in_lines, wrap


def measure(text: str) -> float:
    return sum(1.0 if is_wide(char) else 0.5 for char in text)


# Copy of words, ideographs and punctuation in realistic positions.
pieces = st.sampled_from(
    ["大", "熊", "猫", "看", "好", "的", "，", "。", "！", "（周末）", "《夏》", "“冰”", "……", "——", "￥99", "50%",
     "5折", " iPhone ", " a ", " hammer ", " lasts, ", "once-more", " (new) "]
)  # fmt: skip
copy = st.lists(pieces, min_size=1, max_size=40).map("".join).map(str.strip).filter(bool)


@settings(max_examples=300, deadline=None)
@given(text=copy, width=st.integers(8, 30))
def test_lines_fit_and_lose_nothing_and_keep_the_rules(text: str, width: int) -> None:
    lines = wrap(text, width, measure)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(line == line.strip() and line for line in lines)
    assume(in_lines(text, len(lines), width, measure) is not None)  # otherwise a piece is longer than a line and is cut
    assert not any(line[0] in NO_START for line in lines[1:])
    assert not any(line[-1] in NO_END for line in lines[:-1])
    for word in ("iPhone", "hammer", "￥99", "50%", "……", "——"):
        assert sum(line.count(word) for line in lines) == text.count(word)


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("周末去看大熊猫", 7, ["周末去看大熊猫"]),
        ("夏日清凉，从一杯冰咖啡开始", 9, ["夏日清凉，", "从一杯冰咖啡开始"]),
        ("春夏秋冬，", 4, ["春夏", "秋冬，"]),  # the mark stays with its character
        ("他说（真的）好", 4, ["他说（真", "的）好"]),
        ("他说：“真的好”", 3, ["他说：", "“真的", "好”"]),
        ("A hammer that lasts a lifetime", 9.5, ["A hammer that lasts", "a lifetime"]),
        ("第一行\n第二行", 20, ["第一行", "第二行"]),
        ("two   spaces\tand  tabs", 20, ["two spaces and tabs"]),
        ("https://example.com/very/long", 5, ["https://ex", "ample.com/", "very/long"]),
        ("拍 iPhone 照片", 4, ["拍", "iPhone", "照片"]),
        ("", 4, []),
    ],
)
def test_examples(text: str, width: float, lines: list[str]) -> None:
    assert wrap(text, width, measure) == lines


def test_the_last_line_is_not_a_single_character() -> None:
    """A greedy method would leave 猫 on a line of its own."""
    assert wrap("我们一起去看大熊猫", 8, measure) in (["我们一起", "去看大熊猫"], ["我们一起去", "看大熊猫"])
    assert [len(line) for line in wrap("春" * 17, 8, measure)] == [5, 6, 6]


def test_a_long_paragraph_is_even() -> None:
    lengths = [measure(line) for line in wrap("每一度电都来自看得见的风" * 12, 20, measure)]
    assert max(lengths) <= 20
    assert min(lengths) >= 16


def test_a_given_number_of_lines() -> None:
    found = in_lines("把风的力量，变成明天的电", 2, 20, measure)
    assert found is not None
    assert found.lines == ["把风的力量，", "变成明天的电"]
    assert found.cost < 0.01
    assert in_lines("hammer", 2, 20, measure) is None
    assert in_lines("a hammer", 1, 3, measure) is None
    assert in_lines("a hammer", 2, 2, measure) is None


def test_chinese_words_are_not_broken() -> None:
    pytest.importorskip("jieba")
    text = "一起去看大熊猫吧朋友"
    assert wrap(text, 5, measure) == ["一起去看大", "熊猫吧朋友"]
    assert any("大熊猫" in line for line in wrap(text, 6, measure, segment=chinese.segment))

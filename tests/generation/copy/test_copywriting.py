"""Reading copy without an endpoint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from diantu.datasets import InputError
from diantu.generation.copy import chinese
from diantu.generation.copy.copywriting import Copywriter, keywords, language_of, read_copy

pytest.importorskip("jieba")


@pytest.mark.parametrize(
    ("copy", "first"),
    [
        ("夏日清凉，从一杯冰咖啡开始", "冰咖啡"),
        ("周末去看大熊猫", "大熊猫"),
        ("给猫一个家", "猫"),  # the extractors of jieba drop words of one character
        ("一把锤子，用一辈子", "锤子"),
        ("巴黎铁塔下的浪漫约会", "巴黎铁塔"),
        ("全场5折！剪刀限时抢购，￥99起", "剪刀"),
        ("A hammer that lasts a lifetime", "hammer"),
        ("Introducing the best pillow you'll ever own", "pillow"),
        ("Save the polar bear before the ice is gone", "polar bear"),
        ("New iPhone，拍出好照片", "iPhone"),
        ("SALE! 50% off scissors – today only", "scissors"),
    ],
)
def test_the_subject_of_the_photograph_comes_first(copy: str, first: str) -> None:
    (word, weight), *others = keywords(copy)
    assert word == first
    assert weight == 1
    assert all(0 < other <= 1 for _, other in others)
    assert [other for _, other in others] == sorted((other for _, other in others), reverse=True)


def test_mixed_copy_gives_words_of_both_languages() -> None:
    words = [word for word, _ in keywords("Sydney 悉尼歌剧院，新年 Concert")]
    assert {"Sydney", "悉尼歌剧院", "Concert"} <= set(words)


def test_words_are_counted_without_regard_to_case() -> None:
    words = [word.lower() for word, _ in keywords("Coffee! COFFEE, and coffee 咖啡 coffee")]
    assert sorted(words) == ["coffee", "咖啡"]


def test_the_number_of_keywords_is_limited() -> None:
    copy = "狮子、老虎、大象、长颈鹿、斑马、河马、犀牛、熊猫，都在动物园"
    assert len(keywords(copy)) == 6
    assert len(keywords(copy, limit=2)) == 2


@pytest.mark.parametrize(
    ("copy", "language"),
    [
        ("周末去看大熊猫", "zh"),
        ("iPhone 16 Pro，拍出好照片", "zh"),
        ("Visit Beijing 北京 and the Great Wall", "en"),
        ("5 × 3!", "en"),
    ],
)
def test_language(copy: str, language: str) -> None:
    assert language_of(copy) == language


def test_a_brief_has_queries_and_a_prompt() -> None:
    brief = read_copy("  夏日清凉，\n从一杯冰咖啡开始 ")
    assert brief.copy == "夏日清凉， 从一杯冰咖啡开始"
    assert brief.queries[0] == ("冰咖啡", 1.0)
    assert brief.queries[-1] == (brief.copy, 0.5)
    assert [part.label for part in brief.query().parts()] == [text for text, _ in brief.queries]
    assert "冰咖啡" in brief.prompt
    assert brief.prompt != brief.copy
    assert brief.source == "offline"
    assert read_copy("A hammer that lasts").prompt.startswith("hammer, ")
    assert Copywriter().brief(brief.copy) == brief


@pytest.mark.parametrize("copy", ["50% OFF!!!", "好好过！", "2026"])
def test_copy_without_keywords_is_the_query(copy: str) -> None:
    brief = read_copy(copy)
    assert brief.keywords == ()
    assert brief.queries == ((copy, 1.0),)
    assert copy in brief.prompt


@pytest.mark.parametrize(
    ("copy", "message"), [("", "the copy is empty"), (" \n", "is empty"), ("咖" * 2001, "2001 char")]
)
def test_copy_that_cannot_be_used(copy: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_copy(copy)


def test_joined_words_give_the_text() -> None:
    text = "New iPhone 16 Pro，拍出 好照片！"
    assert "".join(chinese.segment(text)) == text
    assert "冰咖啡" in chinese.segment("一杯冰咖啡")


def test_jieba_prints_nothing_and_uses_no_cache(tmp_path: Path) -> None:
    """Its cache is a marshalled file in a folder that all users share, so anybody could have written it."""
    (tmp_path / "jieba.cache").write_bytes(b"planted")
    code = "from diantu.generation.copy.copywriting import keywords; print(keywords('周末去看大熊猫')[0][0])"
    done = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", "-c", code], capture_output=True, text=True, check=True,
        env={"TMPDIR": str(tmp_path), "PATH": "", "HOME": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert done.stdout == "大熊猫\n"
    assert done.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["jieba.cache"]
    assert (tmp_path / "jieba.cache").read_bytes() == b"planted"


def test_jieba_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys, diantu.generation.copy.copywriting, diantu.generation.strategies.poster.overlay\n"
        "print('jieba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

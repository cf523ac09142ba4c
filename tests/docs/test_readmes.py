"""README.zh-CN.md says what README.md says: the same sections, commands, examples, pictures and links."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from documentation import CHINESE_README, README, REPOSITORY, Block, blocks, commands


def test_each_links_the_other() -> None:
    assert f"]({CHINESE_README.name})" in README.read_text("utf-8")
    assert f"]({README.name})" in CHINESE_README.read_text("utf-8")


def test_both_show_the_same_commands() -> None:
    """The queries may be in another language; commands and options are the same."""
    assert [_shape(line) for line in commands(CHINESE_README)] == [_shape(line) for line in commands(README)]


def _shape(line: str) -> list[str]:
    words = line.split()
    return [*words[:2], *(word for word in words if word.startswith("--"))]


def test_both_show_the_same_examples() -> None:
    assert [_calls(block) for block in blocks(CHINESE_README)] == [_calls(block) for block in blocks(README)]


def _calls(block: Block) -> str:
    """The code without comments and without the texts in it."""
    tree = ast.parse(block.code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


def test_both_have_the_same_sections_pictures_and_links() -> None:
    english, chinese = (page.read_text("utf-8") for page in (README, CHINESE_README))
    assert len(re.findall("^## ", chinese, re.M)) == len(re.findall("^## ", english, re.M))
    assert re.findall(r"!\[.+\]\((.+)\)", chinese) == re.findall(r"!\[.+\]\((.+)\)", english)
    assert _targets(chinese) - {README.name} == _targets(english) - {CHINESE_README.name}


def _targets(text: str) -> set[str]:
    return set(re.findall(r"\]\(([^)]+)\)", text))


@pytest.mark.parametrize("readme", [README, CHINESE_README], ids=lambda path: path.name)
def test_links_lead_somewhere(readme: Path) -> None:
    for target in _targets(readme.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        assert (REPOSITORY / path).exists(), target
        if anchor:
            headings = re.findall("^#+ (.+)$", (REPOSITORY / path).read_text("utf-8"), re.M)
            assert anchor in [re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings]

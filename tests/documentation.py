"""The READMEs and the pages of docs/en as data: their Python blocks and their command lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
README, CHINESE_README = REPOSITORY / "README.md", REPOSITORY / "README.zh-CN.md"
PAGES = [README, CHINESE_README, *sorted((REPOSITORY / "docs" / "en").glob("*.md"))]
# Pages whose code blocks are files of packages; they have a test of their own.
EXTENDING = REPOSITORY / "docs" / "en" / "extending.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of a page. `title` is what stands in `title="…"` after the language, `id` names it in a test."""

    language: str
    title: str
    code: str
    id: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, also those inside lists, without their indentation."""
    found = re.finditer(r"^([ ]*)```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^\1```$", page.read_text("utf-8"), re.M | re.S)
    return [
        Block(
            language=match[2],
            title=match[3] or "",
            code=re.sub(rf"^{match[1]}", "", match[4], flags=re.MULTILINE),
            id=f"{page.stem}-{number}",
        )
        for number, match in enumerate(found)
    ]


def commands(page: Path) -> list[str]:
    """The lines of a page that a user types into a shell: in `sh` blocks, or indented by four spaces (README)."""
    lines = [line for block in blocks(page) if block.language == "sh" for line in block.code.splitlines()]
    indented = re.findall(r"^    ((?:diantu|pip|python|pytest|\.ci).+)$", page.read_text("utf-8"), re.MULTILINE)
    return [line.strip() for line in lines or indented if line.strip()]

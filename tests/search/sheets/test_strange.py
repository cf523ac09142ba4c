"""A sheet of text by strangers parses to that text and to no further markup."""

from __future__ import annotations

import random
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fuzzing import rounds
from pictures import jpeg
from PIL import Image
from strange import CONTROLS, text

from diantu.datasets import decode
from diantu.datasets.display import lines
from diantu.search.sheets.html import Html, link
from diantu.search.sheets.section import SheetSection, Tile
from diantu.search.sheets.sheet import fragment, write_sheet


class Parsed(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def image(size: int) -> Image.Image:
    found = Image.fromarray(decode(jpeg()))
    found.thumbnail((size, size))
    return found


@pytest.mark.fuzz
def test_strange_text_stays_text(tmp_path: Path) -> None:
    plain = Tile(thumbnail=image, rank=1, score=0.5, zscore=1.0, caption="a", key="b", details="c")
    expected = Parsed(write_sheet([SheetSection(heading="a", tiles=[plain])], tmp_path / "a.html").read_text())
    seeded = random.Random(3)
    for _ in range(rounds(60)):
        caption, key, details, heading, note = (text(seeded) for _ in range(5))
        tile = Tile(
            thumbnail=image, rank=1, score=0.5, zscore=1.0, caption=caption, key=key, details=details, url=text(seeded)
        )
        path = write_sheet([SheetSection(heading=heading, note=note, tiles=[tile])], tmp_path / "a.html")
        page = path.read_text(encoding="utf-8")
        assert not CONTROLS.search(page.replace("\n", ""))
        found = Parsed(page)
        assert found.tags == expected.tags
        assert [name for name, _ in found.attributes] == [name for name, _ in expected.attributes]
        assert ("title", lines(details)) in found.attributes
        assert ("alt", lines(caption)) in found.attributes
        shown = "".join(found.texts)
        for each in (caption, key, heading, note):
            assert lines(each) in shown
    write_sheet([SheetSection(heading=heading, tiles=[tile])], tmp_path / "a.png")


def test_a_page_runs_no_code_and_loads_nothing(tmp_path: Path) -> None:
    found = Parsed(write_sheet([SheetSection(heading="a")], tmp_path / "a.html").read_text())
    policy = next(value for name, value in found.attributes if name == "content" and "default-src" in value)
    assert "default-src 'none'" in policy
    assert "img-src data:;" in policy
    assert "script" not in policy


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\nscript:alert(1)", " javascript:x", "data:text/html,x",
        "//a.example",
        "vbscript:x", "file:///etc/passwd", "http:", "https://", "http://a.example/\x1b[2J", "http://a b/",
        "http://[::1", 7,
    ],
)  # fmt: skip
def test_only_addresses_of_the_web_become_links(url: object) -> None:
    assert link(url, "<key>") == "&lt;key&gt;"


def test_a_link_is_escaped() -> None:
    assert link("HTTPS://a.example/?a='1'&b=\"", "k") == (
        "<a href='HTTPS://a.example/?a=&#39;1&#39;&amp;b=&#34;' rel='noreferrer noopener'>k</a>"
    )


def test_markup_is_not_escaped_twice_and_braces_of_strangers_are_text() -> None:
    inner = Html("<b>{}</b>").format("{0} <i>")
    assert Html("<p>{}</p>").format(inner) == "<p><b>{0} &lt;i&gt;</b></p>"
    assert "<style>" in fragment(SheetSection(heading="{x}"))

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from diantu.datasets import InputError
from diantu.search import Gallery, Hit, Hits
from diantu.search.hits import Asked


@pytest.fixture(scope="module")
def hits(demo: Path) -> Hits:
    return Gallery.open(demo / "gallery").search("大熊猫", k=7)


def test_the_page_stands_alone(hits: Hits, tmp_path: Path) -> None:
    page = hits.sheet(tmp_path / "new folder" / "hits.html").read_text(encoding="utf-8")
    sources = re.findall(r"src='([^']*)'", page)
    assert len(sources) == 7
    first = Image.open(io.BytesIO(base64.b64decode(sources[0].removeprefix("data:image/jpeg;base64,"))))
    assert max(first.size) <= 320
    assert "http" not in re.sub(r"title='[^']*'", "", page)  # nothing is loaded from elsewhere
    assert "大熊猫" in page
    assert "animal_panda" in page


def test_the_picture_has_a_cell_a_hit(hits: Hits, tmp_path: Path) -> None:
    sheet = Image.open(hits.sheet(tmp_path / "hits.png"))
    one = Image.open(Hits(query=hits.query, hits=hits.hits[:1], took_ms=1).sheet(tmp_path / "one.png"))
    assert sheet.width > 5 * one.width
    assert sheet.height > 1.8 * one.height - 60


def test_what_users_wrote_is_text_in_the_page(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>\" onload='y"
    metadata = {"shard": "/gone.tar", "offset": 0, "length": 1, "image_path": "a.jpg", "note": evil}
    hit = Hit(row=0, rank=1, score=0.5, zscore=None, key=evil, caption=evil, metadata=metadata)
    page = Hits(query=Asked(kind="text", label=evil), hits=(hit,), took_ms=1).sheet(tmp_path / "x.html").read_text()

    seen: set[str] = set()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.update({tag, *(name for name, _ in attrs)})

    Tags().feed(page)
    assert "figure" in seen
    assert not {"script", "onload"} & seen


def test_no_hits_make_a_sheet_too(hits: Hits, tmp_path: Path) -> None:
    none = Hits(query=hits.query, hits=(), took_ms=1)
    assert none.sheet(tmp_path / "a.html").exists()
    assert Image.open(none.sheet(tmp_path / "a.png")).width > 0


def test_other_endings_are_refused(hits: Hits, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.html or \.png"):
        hits.sheet(tmp_path / "hits.pdf")

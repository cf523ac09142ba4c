from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from diantu.datasets import InputError
from diantu.search import Explain, Gallery, Hit, Hits
from diantu.search.hits import Asked
from diantu.search.sheets.section import SheetSection
from diantu.search.sheets.sheet import write_sheet


@pytest.fixture(scope="module")
def hits(demo: Path) -> Hits:
    return Gallery.open(demo / "gallery").search("大熊猫", k=7)


def test_the_page_stands_alone(hits: Hits, tmp_path: Path) -> None:
    page = hits.sheet(tmp_path / "new folder" / "hits.html").read_text(encoding="utf-8")
    sources = re.findall(r"src='([^']*)'", page)
    assert len(sources) == 7
    first = Image.open(io.BytesIO(base64.b64decode(sources[0].removeprefix("data:image/jpeg;base64,"))))
    assert max(first.size) <= 320
    assert "://" not in re.sub(r"title='[^']*'", "", page)  # nothing is loaded from elsewhere
    assert "大熊猫" in page
    assert "animal_panda" in page


def test_the_png_has_one_cell_per_hit(hits: Hits, tmp_path: Path) -> None:
    sheet = Image.open(hits.sheet(tmp_path / "hits.png"))
    one = Image.open(
        Hits(query=hits.query, hits=hits.hits[:1], took_ms=1, explain=hits.explain).sheet(tmp_path / "one.png")
    )
    assert sheet.width > 5 * one.width
    assert sheet.height > 1.8 * one.height - 60


def test_text_of_users_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>\" onload='y"
    metadata = {"shard": "/gone.tar", "offset": 0, "length": 1, "image_path": "a.jpg", "note": evil}
    hit = Hit(row=0, rank=1, score=0.5, zscore=None, key=evil, caption=evil, metadata=metadata)
    explain = Explain(space="x", effort="balanced", strategy="exact", ms={})
    page = (
        Hits(query=Asked(kind="text", label=evil), hits=(hit,), took_ms=1, explain=explain)
        .sheet(tmp_path / "x.html")
        .read_text()
    )

    seen: set[str] = set()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.update({tag, *(name for name, _ in attrs)})

    Tags().feed(page)
    assert "figure" in seen
    assert not {"script", "onload"} & seen


def test_a_sheet_without_hits(hits: Hits, tmp_path: Path) -> None:
    none = Hits(query=hits.query, hits=(), took_ms=1, explain=hits.explain)
    assert none.sheet(tmp_path / "a.html").exists()
    assert Image.open(none.sheet(tmp_path / "a.png")).width > 0


def test_other_extensions_are_refused(hits: Hits, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.html or \.png"):
        hits.sheet(tmp_path / "hits.pdf")


def test_a_single_section_is_headed_once(hits: Hits, tmp_path: Path) -> None:
    page = hits.sheet(tmp_path / "hits.html").read_text(encoding="utf-8")
    assert "<title>大熊猫</title>" in page
    assert "<h1>大熊猫</h1>" in page
    assert "<h2>" not in page
    assert "<h2>大熊猫</h2>" in hits._repr_html_()


def test_a_long_text_is_cut_and_runs_in_its_own_direction(hits: Hits) -> None:
    page = hits._repr_html_()
    assert page.count("<div class=clip>") == page.count("<div class='dim clip'>") == len(hits)
    (rule,) = re.findall(r"h1, h2, \.clip \{(.*?)\}", page, re.DOTALL)
    assert "-webkit-line-clamp: 4; overflow: hidden;" in rule
    assert "unicode-bidi: plaintext;" in rule


def test_several_sections_have_a_common_title(tmp_path: Path) -> None:
    sections = [SheetSection(heading=heading) for heading in ("a < b", "c")]
    page = write_sheet(sections, tmp_path / "a.html", further="<p>more</p>").read_text(encoding="utf-8")
    assert re.findall("<h1>(.*?)</h1>", page) == ["a &lt; b · c"]
    assert re.findall("<h2>(.*?)</h2>", page) == ["a &lt; b", "c"]
    assert "<p>more</p>" in page
    page = write_sheet(sections[:1], tmp_path / "b.html", title="One & all").read_text(encoding="utf-8")
    assert re.findall("<h[12]>(.*?)</h", page) == ["One &amp; all", "a &lt; b"]

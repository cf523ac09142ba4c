from __future__ import annotations

import base64
import io
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from angles import gallery_at
from pictures import jpeg
from PIL import Image
from tinting import Tint

from diantu.generation import GenerationRequest, Results, generate


def run(tmp_path: Path, *asked: GenerationRequest, black: tuple[str, ...] = ()) -> Results:
    credits = {"licence": "CC0-1.0", "author": "A. B.", "url": "https://example.org/0.jpg"}
    gallery = gallery_at(tmp_path / "g", [0, 40], [credits, {"url": "javascript:alert(1)"}], size=(900, 600))
    return generate(asked, tmp_path / "run", Tint(black=black), gallery=gallery)


def test_the_page_shows_reference_result_and_facts(tmp_path: Path) -> None:
    run(
        tmp_path,
        GenerationRequest(prompt="1", negative_prompt="blur", headline="春天", settings={"tint": {"strength": 0.25}}),
        GenerationRequest(prompt="39"),
        GenerationRequest(prompt="-90", min_score=0.5),
        black=("0002-1",),
    )
    page = (tmp_path / "run/index.html").read_text(encoding="utf-8")
    first, second, third = page.split("<article")[1:]
    for text in ("CC0-1.0 · A. B.", "https://example.org/0.jpg", "1.000", "blur", "春天", "strength 0.25", "600"):
        assert text in first
    assert "href='pictures/0001-1.png'" in first
    assert len(re.findall("<img", first)) == 2
    assert "failed: the picture is black" in second
    assert "licence not known" in second
    assert "skipped: " in third
    assert "below min_score 0.5" in third
    assert "strength 0.5" in page.split("<article")[0]
    assert "1 done, 1 failed, 1 skipped" in page


def test_the_page_stands_alone_and_stays_small(tmp_path: Path) -> None:
    run(tmp_path, GenerationRequest(prompt="1", num_pictures=3))
    page = (tmp_path / "run/index.html").read_text(encoding="utf-8")
    sources = re.findall(r"src='data:image/jpeg;base64,([^']*)'", page)
    assert len(sources) == page.count("<img") == 6
    for source in sources:
        assert max(Image.open(io.BytesIO(base64.b64decode(source))).size) == 320
    assert len(page) < sum(path.stat().st_size for path in (tmp_path / "run/pictures").iterdir()) / 3


def test_text_of_users_and_galleries_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>' onload='y"
    (tmp_path / "a.jpg").write_bytes(jpeg())
    asked = [
        GenerationRequest(prompt=evil, negative_prompt=evil, headline=evil, files=[str(tmp_path / "a.jpg")]),
        GenerationRequest(prompt="40"),
    ]
    run(tmp_path, *asked)
    page = (tmp_path / "run/index.html").read_text(encoding="utf-8")
    seen: set[str] = set()
    links: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.update({tag, *(name for name, _ in attrs)})
            links.extend(value or "" for name, value in attrs if name == "href")

    Tags().feed(page)
    assert {"article", "figure"} <= seen
    assert not {"script", "onload"} & seen
    assert links == ["pictures/0001-1.png", "pictures/0002-1.png"]  # javascript: does not become a link


@pytest.mark.parametrize(
    "evil", ["<script>alert(1)</script>' onerror='x\x1b[2J", ["<b>"], {"a": ["<i>"]}, 7, None, True]
)
def test_a_row_that_was_edited_becomes_text(tmp_path: Path, evil: object) -> None:
    asked = GenerationRequest(prompt="1")
    before = Counter(tags((run(tmp_path, asked).folder / "index.html").read_text(encoding="utf-8")))
    manifest = tmp_path / "run/manifest.jsonl"
    row = json.loads(manifest.read_text(encoding="utf-8"))
    kept = ("name", "status", "file", "sha256")
    edited = {name: value if name in kept else evil for name, value in row.items()} | {"settings": evil, "lines": evil}
    manifest.write_text(json.dumps(edited), encoding="utf-8")
    generate([asked], tmp_path / "run", Tint())
    page = (tmp_path / "run/index.html").read_text(encoding="utf-8")
    assert not Counter(tags(page)) - before - Counter({"p": 6, "span": 6, "dt": 6, "dd": 6})
    assert "\x1b" not in page


@pytest.mark.parametrize(
    "edit", [{"status": "<b>"}, {"file": "../../secret.png"}, {"file": 7}, {"name": []}, {"sha256": None}]
)
def test_a_row_with_another_place_or_status_is_made_again(tmp_path: Path, edit: dict[str, object]) -> None:
    asked = GenerationRequest(prompt="1")
    run(tmp_path, asked)
    manifest = tmp_path / "run/manifest.jsonl"
    row = manifest.read_text(encoding="utf-8")
    manifest.write_text(json.dumps(json.loads(row) | edit) + "\n", encoding="utf-8")
    assert generate([asked], tmp_path / "run", Tint()).num_made == 1
    assert json.loads(manifest.read_text(encoding="utf-8"))["sha256"] == json.loads(row)["sha256"]


def tags(page: str) -> list[str]:
    found: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append(tag)
            assert not [name for name, _ in attrs if name.startswith("on")]

    Tags().feed(page)
    return found


def test_a_missing_reference_keeps_its_place(tmp_path: Path) -> None:
    asked = GenerationRequest(prompt="1")
    run(tmp_path, asked)
    (tmp_path / "g/0.jpg").unlink()
    generate([asked], tmp_path / "run", Tint())
    page = (tmp_path / "run/index.html").read_text(encoding="utf-8")
    assert "the image is missing" in page
    assert page.count("<img") == 1


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (5, 4)])
def test_the_sheet_has_one_cell_per_picture(tmp_path: Path, count: int, columns: int) -> None:
    run(tmp_path, *[GenerationRequest(prompt=str(i)) for i in range(count)])
    sheet = Image.open(tmp_path / "run/sheet.png")
    assert sheet.width == 14 + columns * (2 * 150 + 28)
    cell = sheet.crop((14, 48, 14 + 304, 48 + 150))
    left, right = cell.crop((0, 0, 150, 150)), cell.crop((154, 0, 304, 150))
    for shown in (left, right):
        assert len(shown.getcolors(150 * 150)) > 1000

"""Filters and options choose the rows that `Gallery.search` chooses for the same condition."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import Browsing
from strangers import Looks

from diantu.search import Gallery

Browse = Callable[..., Browsing]


@pytest.fixture(scope="module")
def gallery(demo: Path) -> Gallery:
    return Gallery.open(demo / "gallery")


def found(gallery: Gallery, text: str = "castle", **options: Any) -> list[int]:
    return [hit.row for hit in gallery.search(text, **{"k": 8, **options})]


def section(browsing: Browsing, title: str) -> Any:
    return browsing.page.locator(f"#filters .filter:has(h3:text-is('{title}'))")


@pytest.fixture
def castles(browse: Browse) -> Browsing:
    """Castles, with the panel of filters open and the columns counted."""
    browsing = browse("?q=castle")
    browsing.rows()
    browsing.page.click("#filters-button")
    section(browsing, "Licence").wait_for()
    return browsing


def test_columns_of_every_kind(castles: Browsing, gallery: Gallery) -> None:
    castles.page.click(".swatch[data-color=blue]")
    castles.shows(found(gallery, where="dominant_color = 'blue'"))
    castles.page.click(".swatch[data-color=green]")
    castles.page.click(".shape.landscape")
    where = "dominant_color IN ('blue', 'green') AND aspect >= 1.18"
    castles.shows(found(gallery, where=where))
    section(castles, "Licence").get_by_label("CC0-1.0").check()
    castles.shows(found(gallery, where=f"{where} AND licence = 'CC0-1.0'"))
    section(castles, "Brightness").get_by_label("Brightness, to").last.fill("0.5")
    castles.page.keyboard.press("Enter")
    castles.shows(found(gallery, where=f"{where} AND licence = 'CC0-1.0' AND brightness <= 0.5"))
    assert castles.page.inner_text("#filters-button .count") == "4"
    castles.page.click(".filter-chip:has-text('CC0')")
    castles.shows(found(gallery, where=f"{where} AND brightness <= 0.5"))
    castles.page.go_back()
    castles.shows(found(gallery, where=f"{where} AND licence = 'CC0-1.0' AND brightness <= 0.5"))
    castles.page.click("#filters .text:has-text('Reset')")
    castles.shows(found(gallery))


def test_slider_of_a_range(castles: Browsing, gallery: Gallery) -> None:
    thumb = section(castles, "Width").get_by_label("Width, from").first
    thumb.focus()
    thumb.press("End")
    castles.shows(found(gallery, where="width >= 448"))
    assert section(castles, "Width").locator("input[type=number]").first.input_value() == "448"


def test_text_column_and_raw_condition(castles: Browsing, gallery: Gallery) -> None:
    castles.page.click("#filters details[data-name=more] summary")
    castles.page.get_by_role("textbox", name="Author").fill("O'")
    castles.page.keyboard.press("Tab")
    castles.until(lambda: "has.author" in castles.page.url, "the filter is in the address")
    castles.page.click(".filter-chip")
    castles.shows(found(gallery))
    castles.page.click("#filters details[data-name=condition] summary")
    castles.page.get_by_role("textbox", name="Condition").fill("width > 300 AND category = 'animal'")
    castles.page.keyboard.press("Enter")
    castles.shows(found(gallery, where="width > 300 AND category = 'animal'"))


def test_a_condition_that_cannot_be_used_is_answered_with_the_sentence_of_the_command_line(browse: Browse) -> None:
    browsing = browse()
    browsing.expected = ("400",)
    browsing.open("?q=castle&where=widht > 3")
    assert "widht" in browsing.message()
    browsing.page.click("#message .primary")  # clear the filters
    assert browsing.rows()


def test_only_real_matches(browse: Browse, gallery: Gallery) -> None:
    browsing = browse("?q=castle&z=3")
    expected = found(gallery, min_zscore=3, k=60)
    browsing.shows(expected[:8])
    browsing.page.click("#filters-button")
    slider = browsing.page.get_by_role("slider", name="Only real matches")
    slider.focus()
    slider.press("ArrowLeft")
    browsing.until(lambda: browsing.asked[-1].get("min_zscore") == 2.5, "the slider sets the zscore")
    browsing.open("?q=submarine&z=8")
    assert "No picture matches" in browsing.message()
    browsing.page.click("text=Show the nearest anyway")
    browsing.shows(found(gallery, "submarine"))


def test_order(browse: Browse, gallery: Gallery) -> None:
    browsing = browse("?q=castle")
    browsing.rows()
    browsing.page.click("#filters-button")
    browsing.page.get_by_label("Sort by").select_option("-brightness")
    browsing.shows(found(gallery, sort_by="-brightness", window=600))
    assert browsing.page.get_by_label("Diversity").is_disabled()
    browsing.page.get_by_label("Sort by").select_option("")
    diversity = browsing.page.get_by_label("Diversity")
    diversity.focus()
    diversity.press("End")
    browsing.shows(found(gallery, diversity=1, window=600))
    assert browsing.page.get_by_label("Fold near-duplicates").is_disabled()  # nobody has looked for them


def test_near_duplicates_spaces_captions_flags_and_strange_columns(browse: Browse, strangers: Path) -> None:
    from diantu.indexing.upkeep.dedup import find_duplicates

    find_duplicates(strangers)
    gallery = Gallery.open(strangers, encoder=Looks())  # type: ignore[arg-type]
    browsing = browse()
    browsing.expected = ("404",)  # one image cannot be read
    browsing.open("?g=strangers&and=row:1")
    browsing.rows()
    browsing.page.click("#filters-button")
    fold = browsing.page.get_by_label("Fold near-duplicates")
    browsing.until(lambda: browsing.page.reload() is None or fold.is_enabled(), "near-duplicates are known")
    fold.check()
    browsing.until(lambda: browsing.asked[-1].get("fold_duplicates") is True, "near-duplicates are folded")
    fold.uncheck()
    browsing.page.get_by_label("Compare by").select_option("hf:further")
    from diantu.search import Query

    browsing.shows([hit.row for hit in gallery.search(Query(rows=[1]), k=8, space="hf:further")])
    browsing.page.get_by_label("Compare by").select_option("hf:x")
    browsing.page.get_by_label("Search in").select_option("captions")
    browsing.shows([hit.row for hit in gallery.search(Query(rows=[1]), k=8, over="captions")])
    browsing.page.get_by_label("Search in").select_option("")
    section(browsing, "good").get_by_label("yes").check()
    browsing.shows([hit.row for hit in gallery.search(Query(rows=[1]), k=8, where="good")])
    name = '"><b onclick=alert(1)>'
    strange = browsing.page.get_by_role("group", name=name).get_by_label("'; DROP TABLE x; -- 1")
    strange.check()
    where = "\"\"\"><b onclick=alert(1)>\" = '''; DROP TABLE x; -- 1' AND good"
    browsing.shows([hit.row for hit in gallery.search(Query(rows=[1]), k=8, where=where)])

"""One row in full."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from browsing import Browsing

from diantu.search import Gallery

Browse = Callable[..., Browsing]


def test_details_are_a_step_of_the_history_and_lead_on(browse: Browse, demo: Path, tmp_path: Path) -> None:
    hits = Gallery.open(demo / "gallery").search("castle", k=3)
    browsing = browse("?q=castle")
    browsing.rows()
    browsing.tile(0).locator("a").click()
    browsing.page.wait_for_selector("#detail .credits")
    assert browsing.page.inner_text("#detail h2") == hits[0].caption
    side = browsing.page.inner_text("#detail .side")
    assert all(str(hits[0].metadata[name]) in side for name in ("licence", "author", "category", "caption_zh", "width"))
    link = browsing.page.locator("#detail .credits a")
    assert [link.get_attribute(name) for name in ("href", "rel", "target")] == [
        hits[0].metadata["source"],
        "noopener noreferrer",
        "_blank",
    ]
    browsing.page.wait_for_selector("#detail .large.loaded")
    with browsing.page.expect_download() as download:
        browsing.page.get_by_label("Download").click()
    assert (download.value.suggested_filename, Path(download.value.path()).read_bytes()) == (
        f"{hits[0].key}.jpg",
        hits[0].bytes(),
    )
    browsing.page.keyboard.press("ArrowRight")
    browsing.page.wait_for_function(
        "(text) => document.querySelector('#detail h2').textContent === text", arg=hits[1].caption
    )
    browsing.page.click("#detail .turn.right")
    browsing.page.wait_for_function(
        "(text) => document.querySelector('#detail h2').textContent === text", arg=hits[2].caption
    )
    assert f"row={hits[2].row}" in browsing.page.url
    assert len(browsing.asked) == 1
    browsing.page.keyboard.press("Escape")
    browsing.page.wait_for_selector("#detail", state="hidden")
    assert browsing.page.url == f"{browsing.url}?q=castle"
    assert browsing.page.evaluate("document.activeElement.closest('.tile').dataset.index") == "2"
    browsing.page.go_forward()
    browsing.page.wait_for_selector("#detail[open]")
    browsing.page.go_back()
    browsing.page.wait_for_selector("#detail", state="hidden")


def test_an_address_opens_details_at_once_and_of_any_row(browse: Browse, demo: Path) -> None:
    row = Gallery.open(demo / "gallery").rows([100])[0]
    browsing = browse("?q=hammer&row=100")
    browsing.page.wait_for_selector("#detail .credits")
    assert browsing.page.inner_text("#detail h2") == row["caption"]
    browsing.page.wait_for_selector("#detail .large.loaded")
    browsing.page.click("#detail .close")
    browsing.page.wait_for_selector("#detail", state="hidden")
    browsing.expected = ("404", "400")
    browsing.open("?q=hammer&row=99999")
    assert "99999" in browsing.page.wait_for_selector("#detail .problem").inner_text()


def test_whole_numbers_beyond_what_scripts_can_count_keep_their_digits(browse: Browse) -> None:
    browsing = browse()
    browsing.expected = ("404",)  # one image cannot be read
    browsing.open("?g=strangers&and=row:1&row=1")
    browsing.page.wait_for_selector("#detail .credits")
    assert str(2**60 + 1) in browsing.page.inner_text("#detail .side")

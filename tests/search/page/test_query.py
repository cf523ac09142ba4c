"""What is searched for: texts, pictures, rows, and terms to search away from."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import Browsing

from diantu.datasets import photos
from diantu.search import Gallery, Query

Browse = Callable[..., Browsing]
COLOSSEUM = photos.FOLDER / "landmark_colosseum.jpg"


@pytest.fixture(scope="module")
def gallery(demo: Path) -> Gallery:
    return Gallery.open(demo / "gallery")


def found(gallery: Gallery, *, number: int = 8, **query: object) -> list[int]:
    return [hit.row for hit in gallery.search(Query(**query), k=number)]  # type: ignore[arg-type]


def test_text_in_both_languages_as_it_is_typed_and_the_way_back(browse: Browse, gallery: Gallery) -> None:
    browsing = browse()
    around = browsing.rows()
    browsing.page.locator("#text").press_sequentially("hammer", delay=5)  # Enter is not needed
    browsing.shows(found(gallery, text="hammer"))
    browsing.page.press("#text", "Enter")
    browsing.type("大熊猫")
    browsing.shows(found(gallery, text="大熊猫"))
    assert browsing.page.url == f"{browsing.url}?q=%E5%A4%A7%E7%86%8A%E7%8C%AB"
    assert browsing.page.title() == "大熊猫 · diantu"
    browsing.page.go_back()
    browsing.shows(found(gallery, text="hammer"))
    browsing.page.go_back()  # each key was not a step of its own
    browsing.shows(around)
    browsing.page.go_forward()
    browsing.shows(found(gallery, text="hammer"))


def test_a_picture_is_chosen_and_stays_with_the_browser(browse: Browse, gallery: Gallery) -> None:
    browsing = browse()
    browsing.rows()
    browsing.page.set_input_files("#file", COLOSSEUM)
    expected = found(gallery, image=COLOSSEUM.read_bytes())
    browsing.shows(expected)
    assert (
        browsing.page.locator("#terms .chip img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 9
    )
    browsing.page.reload()
    browsing.shows(expected)
    elsewhere = browse(browsing.page.url.removeprefix(browsing.url))
    assert "another browser" in elsewhere.message()


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(browse: Browse, gallery: Gallery, way: str) -> None:
    browsing = browse()
    browsing.rows()
    browsing.page.evaluate(
        """([way, data]) => {
          const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
          const files = new DataTransfer();
          files.items.add(new File([bytes], "a.jpg", {type: "image/jpeg"}));
          const options = {bubbles: true, cancelable: true};
          if (way === "paste")
            document.body.dispatchEvent(new ClipboardEvent("paste", {...options, clipboardData: files}));
          else for (const name of ["dragenter", "dragover", "drop"])
            document.querySelector("main").dispatchEvent(new DragEvent(name, {...options, dataTransfer: files}));
        }""",
        [way, base64.b64encode(COLOSSEUM.read_bytes()).decode()],
    )
    browsing.shows(found(gallery, image=COLOSSEUM.read_bytes()))
    assert browsing.page.locator("#drop").is_hidden()


def test_more_like_this_and_less_of_that(browse: Browse, gallery: Gallery) -> None:
    browsing = browse("?q=castle")
    first = browsing.rows()[0]
    browsing.tile(0).hover()
    browsing.tile(0).locator(".like").click()
    browsing.shows(found(gallery, rows=[first]))
    browsing.page.click(".add >> nth=1")
    browsing.page.keyboard.type("a windmill")
    browsing.page.keyboard.press("Enter")
    browsing.shows(found(gallery, rows=[first], negatives=["a windmill"]))
    browsing.page.click(".chip.away .weight")  # ½ → ¼
    browsing.shows(found(gallery, rows=[first], negatives=[("a windmill", 0.25)]))
    browsing.page.click(".add >> nth=0")
    browsing.page.keyboard.type("河马^0.5")
    browsing.page.keyboard.press("Enter")
    browsing.until(lambda: "%5E" in browsing.page.url, "the weight is in the address as part of a text")
    browsing.page.click(".chip .remove >> nth=2")
    browsing.page.click(".chip.away .remove")
    browsing.shows(found(gallery, rows=[first]))


def test_less_like_a_picture_of_the_gallery(browse: Browse, gallery: Gallery) -> None:
    browsing = browse("?q=castle")
    first = browsing.rows()[0]
    browsing.tile(0).locator("a").click()
    browsing.page.click("#detail .action:has-text('Less like this')")
    away = gallery.search("castle", k=1)[0].bytes()
    browsing.shows(found(gallery, text="castle", negatives=[away]))
    assert f"not=row%3A{first}" in browsing.page.url


def test_terms_that_only_lead_away_are_answered_with_the_reason(browse: Browse) -> None:
    browsing = browse()
    browsing.expected = ("400",)
    browsing.open("?not=text:castle")
    assert "the query is empty; give a text, an image, a vector or rows to search for" in browsing.message()


def test_an_address_keeps_every_part_of_the_state(browse: Browse) -> None:
    state = {
        "gallery": "g", "text": "a & b=c", "where": "a > 1 AND b = 'é'", "missing": True, "zscore": 2.5, "fold": True,
        "diversity": 0.35, "sort": "-width", "space": "hf:x/y", "over": "captions", "seed": 7, "row": 12,
        "terms": [
            {"kind": "text", "value": "x^2", "away": False, "weight": 1},
            {"kind": "row", "value": "3", "away": True, "weight": 0.5},
            {"kind": "picture", "value": "ab12", "away": False, "weight": 0.25},
        ],
        "filters": {
            "a.b": {"values": ["x", "y|z"]}, "width": {"low": 3}, "caption": {"contains": "猫"},
            "made": {"low": "2024-01-01", "high": "2024-02-01"},
        },
    }  # fmt: skip
    browsing = browse()
    script = "({ fromUrl, toUrl }, state) => [fromUrl(toUrl(state)), toUrl(fromUrl(toUrl(state))) === toUrl(state)]"
    assert browsing.module("state/url.js", script, state) == [state, True]
    odd = browsing.module(
        "state/url.js",
        "(url, text) => url.fromUrl(text)",
        "?row=-1&z=x&and=row:x&not=&and=bad:1&in.w=..&seed=1e9&diversity=9",
    )
    assert odd["row"] is None
    assert (odd["zscore"], odd["terms"], odd["filters"], odd["seed"], odd["diversity"]) == (None, [], {}, 1, 1)

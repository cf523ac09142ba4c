"""Languages, light and dark, and windows of all sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from browsing import Browsing

Browse = Callable[..., Browsing]


def test_the_language_is_the_browsers_and_can_be_chosen(browse: Browse) -> None:
    browsing = browse(locale="zh-CN")
    browsing.page.wait_for_selector("#intro h2")
    assert browsing.page.inner_text("#intro h2") == "184 张图片"
    assert browsing.page.get_attribute("html", "lang") == "zh-CN"
    browsing.page.wait_for_selector(".offers button")
    offered = browsing.page.inner_text(".offers button >> nth=0")
    assert any("一" <= letter <= "鿿" for letter in offered)  # captions in the page's language
    browsing.page.click(".offers button >> nth=0")
    browsing.until(lambda: browsing.asked[-1].get("texts") == [offered], "it is searched for")
    browsing.page.click("#menu-button")
    browsing.page.get_by_role("radio", name="English").check()
    assert browsing.page.get_attribute("#text", "placeholder") == "Describe a picture, or drop one here"
    browsing.page.reload()
    browsing.page.wait_for_selector("html[lang=en]")


def test_both_languages_say_the_same_things(browse: Browse) -> None:
    script = """({ default: words }) => ({
      keys: Object.keys(words), columns: Object.keys(words.columns), colors: Object.keys(words.colors),
      functions: Object.keys(words).filter((key) => typeof words[key] === "function"),
    })"""
    browsing = browse()
    en, zh = (browsing.module(f"words/{name}.js", script) for name in ("en", "zh"))
    assert en == zh


def test_light_and_dark(browse: Browse) -> None:
    paper = "() => getComputedStyle(document.body).backgroundColor"
    browsing = browse(color_scheme="dark")
    assert browsing.page.evaluate(paper) == "rgb(21, 20, 19)"
    browsing.page.click("#menu-button")
    browsing.page.get_by_role("radio", name="Light").check()
    assert browsing.page.evaluate(paper) == "rgb(251, 250, 248)"
    browsing.page.reload()
    assert browsing.page.evaluate(paper) == "rgb(251, 250, 248)"


@pytest.mark.parametrize(("width", "height"), [(360, 740), (820, 1180), (1440, 900), (3840, 2160)])
def test_nothing_is_wider_than_the_window(browse: Browse, width: int, height: int) -> None:
    browsing = browse("?q=castle&is.dominant_color=blue", viewport={"width": width, "height": height})
    browsing.rows()
    browsing.page.click("#filters-button")
    wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browsing.page.evaluate(wide) == 0
    outside = """() => [...document.querySelectorAll('.bar *, .lead *, #filters *')]
      .filter((node) => node.checkVisibility() && node.getBoundingClientRect().right > innerWidth + 1)
      .map((node) => node.outerHTML.slice(0, 80))"""
    assert browsing.page.evaluate(outside) == []


def test_two_galleries(browse: Browse) -> None:
    browsing = browse("?q=castle")
    browsing.expected = ("404",)  # one image of the strangers cannot be read
    browsing.rows()
    browsing.page.select_option("#gallery", "strangers")
    browsing.until(
        lambda: browsing.asked[-1]["gallery"] == "strangers" and bool(browsing.indexed_rows()), "the other one"
    )
    assert browsing.page.url == f"{browsing.url}?g=strangers"
    browsing.page.go_back()
    browsing.until(lambda: browsing.page.input_value("#gallery") == "demo", "the first one")


def test_a_service_that_does_not_answer(browse: Browse) -> None:
    browsing = browse()
    browsing.rows()
    browsing.expected = ("ERR_FAILED", "503")
    browsing.page.route("**/v1/search", lambda route: route.abort())
    browsing.type("castle")
    assert "The service does not answer" in browsing.message()
    browsing.page.unroute("**/v1/search")
    browsing.page.click("#message .primary")
    assert browsing.rows()
    assert browsing.page.locator("#message").is_hidden()

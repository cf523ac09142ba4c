"""axe finds no violation in any state of the page, light and dark."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import Browsing

Browse = Callable[..., Browsing]

_FOUND = importlib.util.find_spec("axe_playwright_python")
_ALL = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_RUN = """async (rules) => {
  const found = await axe.run({ runOnly: rules });
  return found.violations.map((one) => [one.id, one.nodes.map((node) => node.html.slice(0, 120))]);
}"""


@pytest.mark.skipif(_FOUND is None, reason="axe-playwright-python is not installed")
@pytest.mark.parametrize(("theme", "rules"), [("light", _ALL), ("dark", ["color-contrast"])])  # only colours differ
def test_axe(browse: Browse, theme: str, rules: list[str]) -> None:
    assert _FOUND is not None
    assert _FOUND.origin is not None
    axe = (Path(_FOUND.origin).parent / "axe.min.js").read_text("utf-8")
    browsing = browse(color_scheme=theme)

    def check(state: str) -> None:
        browsing.page.wait_for_timeout(150)
        browsing.page.evaluate("(code) => window.axe || (0, eval)(code)", axe)
        assert (state, browsing.page.evaluate(_RUN, rules)) == (state, [])

    browsing.page.wait_for_selector(".offers button")
    check("start")
    browsing.open("?q=castle&not=text:windmill&is.dominant_color=blue")
    browsing.rows()
    browsing.page.click("#filters-button")
    browsing.page.locator("#filters .swatch").first.wait_for()
    for details in browsing.page.locator("#filters details").all():
        details.locator("summary").click()
    browsing.tile(0).hover()
    browsing.tile(0).locator(".pick").click()
    check("results, filters and a selection")
    browsing.page.click("#picked [data-act=basket]")
    browsing.page.click("#menu-button")
    check("menu")
    browsing.page.keyboard.press("Escape")
    browsing.page.click("#basket-button")
    check("basket")
    browsing.page.keyboard.press("Escape")
    browsing.tile(0).locator("a").click()
    browsing.page.wait_for_selector("#detail .credits")
    check("detail")
    browsing.open("?q=submarine&z=8")
    browsing.message()
    check("no match")

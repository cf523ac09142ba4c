"""Everything can be done without a mouse."""

from __future__ import annotations

from collections.abc import Callable

from browsing import Browsing

Browse = Callable[..., Browsing]

_ACTIVE = "() => document.activeElement.closest('.tile')?.dataset.index ?? document.activeElement.id"


def test_keys(browse: Browse) -> None:
    browsing = browse("?q=castle")
    rows = browsing.rows()
    keyboard = browsing.page.keyboard

    def after(key: str) -> str:
        keyboard.press(key)
        return browsing.page.evaluate(_ACTIVE)

    assert after("/") == "text"
    assert after("ArrowDown") == "0"
    assert [after("ArrowRight"), after("ArrowRight"), after("ArrowLeft")] == ["1", "2", "1"]
    below = after("ArrowDown")
    tops = [browsing.tile(int(index)).bounding_box()["y"] for index in ("1", below)]
    assert tops[0] < tops[1]
    assert after("ArrowUp") == "1"
    after("x")
    assert browsing.page.inner_text("#picked strong") == "1 selected"
    after("b")
    assert browsing.page.inner_text("#basket-button .count") == "1"
    keyboard.press("Enter")
    browsing.page.wait_for_selector("#detail .credits")
    assert f"row={rows[1]}" in browsing.page.url
    keyboard.press("Escape")
    browsing.page.wait_for_selector("#detail", state="hidden")
    assert browsing.page.evaluate(_ACTIVE) == "1"
    after("Escape")
    assert browsing.page.locator("#picked").is_hidden()
    browsing.tile(1).locator("a").focus()
    after("End")
    last = int(browsing.page.evaluate(_ACTIVE))
    assert last > 30
    assert browsing.tile(last).bounding_box()["y"] < 800
    assert after("Home") == "0"
    keyboard.press("?")
    assert "search" in browsing.page.inner_text("#keys")
    keyboard.press("Escape")
    assert browsing.page.locator("#keys").is_hidden()
    browsing.tile(1).locator("a").focus()
    after("m")
    browsing.until(lambda: browsing.asked[-1].get("rows") == [{"row": rows[1], "weight": 1}], "more like this")
    keyboard.press("f")
    browsing.page.wait_for_selector("#filters[open]")
    keyboard.press("Escape")
    browsing.page.wait_for_selector("#filters", state="hidden")

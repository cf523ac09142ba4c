"""A service that wants a token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from browsing import Browsing
from strangers import Looks

TOKEN = "correct-horse-battery-staple"


def test_signing_in_and_out(browse: Callable[..., Browsing], serve: Callable[..., str], strangers: Path) -> None:
    url = serve({"strangers": strangers}, {"strangers": Looks()}, token=TOKEN)
    browsing = browse(url=url)
    browsing.expected = ("401", "404")
    browsing.page.fill("#token", "wrong")
    browsing.page.keyboard.press("Enter")
    browsing.page.wait_for_selector("#sign-in .problem:not(:empty)")
    assert browsing.page.inner_text("#sign-in .problem") == "That is not the token of this service."
    assert browsing.asked == []
    browsing.page.fill("#token", TOKEN)
    browsing.page.keyboard.press("Enter")
    browsing.page.wait_for_selector(".tile.loaded")  # images come with the cookie
    browsing.page.reload()
    browsing.page.wait_for_selector(".tile.loaded")
    assert browsing.page.evaluate("document.cookie") == ""  # scripts cannot read it
    browsing.page.click("#menu-button")
    browsing.page.click("text=Sign out")
    browsing.page.wait_for_selector("#token")
    assert browsing.page.locator(".tile img").count() == 0

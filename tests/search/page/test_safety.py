"""What strangers wrote never becomes markup, a script, a style or a link to one."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from urllib.parse import urlencode

from browsing import Browsing
from strangers import MARKUP, SCRIPT_URL

Browse = Callable[..., Browsing]


def test_policy(service: str) -> None:
    with urllib.request.urlopen(service) as answer:
        policy = answer.headers["Content-Security-Policy"]
        page = answer.read().decode()
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not any(text in page for text in ("style=", "<style", "http://", "https://", "onclick", "javascript:"))


def test_strangers_texts_stay_text(browse: Browse) -> None:
    browsing = browse()
    browsing.expected = ("404",)  # the row whose image cannot be read
    browsing.open("?g=strangers&and=row:1")
    browsing.rows()
    browsing.page.click("#filters-button")
    browsing.page.get_by_role("group", name='"><b onclick=alert(1)>').wait_for()
    for details in browsing.page.locator("#filters details").all():
        details.locator("summary").click()
    browsing.tile(0).hover()
    browsing.tile(0).locator(".pick").click()
    browsing.page.click("#picked [data-act=basket]")
    browsing.tile(0).locator("a").click()
    browsing.page.wait_for_selector("#detail .credits")
    browsing.page.click("#detail details summary")
    side = browsing.page.inner_text("#detail .side")
    assert MARKUP in side
    assert SCRIPT_URL in side
    assert browsing.page.locator("#detail dd a").evaluate_all("links => links.map(link => link.href)") == [
        "https://example.org/?a=%3Cb%3E&row=1"
    ]
    browsing.page.keyboard.press("Escape")
    browsing.page.click("#basket-button")
    assert MARKUP in browsing.page.inner_text("#basket li")
    assert browsing.page.title() != "taken"
    made = browsing.page.locator("b:not(.brand b), body script, [onerror], [onclick], [style*=url]")
    assert made.count() == 0


def test_addresses_that_a_stranger_sends(browse: Browse) -> None:
    browsing = browse()
    browsing.expected = ("400", "404")
    for name in ("q", "and", "where", "has.<b>", "sort", "g"):
        browsing.open("?" + urlencode({name: f"text:{MARKUP}"}))
        answered = "() => document.querySelector('.tile[data-row], #message h2') !== null"
        browsing.page.wait_for_function(answered)
        assert browsing.page.title() != "taken"
        assert browsing.page.locator("[onerror]").count() == 0


def test_only_addresses_of_the_web_become_links(browse: Browse) -> None:
    links = {
        "https://example.org/a?b=c": "https://example.org/a?b=c", "HTTP://EXAMPLE.org": "http://example.org/",
        "javascript:alert(1)": None, " https://example.org": None, "java\nscript:alert(1)": None,
        "data:text/html,x": None, "//example.org": None, "https://": None, "https://a b": None, "": None,
    }  # fmt: skip
    script = "({ webUrl }, urls) => urls.map(webUrl)"
    assert browse().module("base/dom.js", script, list(links)) == list(links.values())


def test_conditions_of_hostile_values(browse: Browse) -> None:
    columns = [
        {"name": 'a"b', "kind": "category"},
        {"name": "t", "kind": "text"},
        {"name": "n", "kind": "range"},
        {"name": "f", "kind": "flag"},
        {"name": "l", "kind": "list"},
    ]
    state = {
        "filters": {
            'a"b': {"values": ["it's", "x"]},
            "t": {"contains": "A'; --"},
            "n": {"low": 1.5, "high": 1e21},
            "f": {"values": ["true"]},
            "l": {"contains": "é'"},
        },
        "where": " a OR b ",
    }
    condition = browse().module(
        "state/condition.js", "(module, [state, columns]) => module.condition(state, columns)", [state, columns]
    )
    assert condition == (
        "(\"a\"\"b\" IN ('it''s', 'x')) AND (contains(lower(\"t\"), 'a''; --')) AND (\"n\" >= 1.5 AND \"n\" <= 1e+21) "
        "AND (\"f\" = true) AND (list_contains(\"l\", 'é''')) AND (a OR b)"
    )

"""A window of the browser that shows the page, and what it shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

MILLISECONDS = 60_000  # a deadline, not a measure: the machine may be busy

_ROWS = """() => document.querySelector('#grid').getAttribute('aria-busy') === 'true' ? null
  : [...document.querySelectorAll('.tile[data-row]')]
      .map(({ dataset }) => [Number(dataset.index), Number(dataset.row)])
      .sort((a, b) => a[0] - b[0])"""


class Browsing:
    """One window.

    Attributes:
        page: Playwright's page.
        problems: errors of scripts, breaches of the policy, and requests to other hosts.
        asked: the bodies of the searches, in their order.
    """

    def __init__(self, context: Any, url: str) -> None:
        self.context = context
        self.url = url
        self.page = context.new_page()
        self.page.set_default_timeout(MILLISECONDS)
        self.problems: list[str] = []
        self.expected: tuple[str, ...] = ()
        self.asked: list[dict[str, Any]] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._on_request)

    def open(self, query: str = "") -> None:
        """Opens the page with a query in its address."""
        self.page.goto(self.url + query)

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning") and not any(text in message.text for text in self.expected):
            self.problems.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.problems.append(f"a request to {request.url}")
        if request.url == f"{self.url}v1/search":
            self.asked.append(json.loads(request.post_data))

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits until a condition holds.

        Raises:
            AssertionError: if it does not.
        """
        for _ in range(MILLISECONDS // 50):
            if condition():
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(what)

    def indexed_rows(self) -> list[list[int]] | None:
        """Index and row id of the tiles in the document; None while a search runs."""
        return self.page.evaluate(_ROWS)

    def rows(self) -> list[int]:
        """The row ids of the first tiles, once there are some."""
        self.until(lambda: bool(self.indexed_rows()), "there are no hits")
        return [row for _, row in self.indexed_rows() or []]

    def shows(self, rows: list[int]) -> None:
        """Waits until the first tiles are these rows, in this order.

        Raises:
            AssertionError: if others stay.
        """
        self.until(lambda: [row for _, row in self.indexed_rows() or []][: len(rows)] == rows, f"not shown: {rows}")

    def tile(self, index: int) -> Any:
        """The tile of a hit."""
        return self.page.locator(f".tile[data-index='{index}']")

    def type(self, text: str) -> None:
        """Types a text into the search bar and presses Enter."""
        self.page.fill("#text", text)
        self.page.press("#text", "Enter")

    def message(self) -> str:
        """The text of the message in place of hits."""
        self.page.wait_for_selector("#message h2")
        return self.page.inner_text("#message")

    def module(self, path: str, script: str, value: Any = None) -> Any:
        """Runs a function of a module of the page, `(module, value) => …`."""
        return self.page.evaluate(
            f"async (value) => {{ const module = await import('/page/{path}'); return ({script})(module, value); }}",
            value,
        )

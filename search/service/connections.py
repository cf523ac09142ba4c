"""Connections whose requests begin in time, and are HTTP; uvicorn bounds neither how long nor how large a head may be.

What is refused here has not reached the application, and is answered with a problem document all the same.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from .problems import problem_response

HEAD_SECONDS = 10.0
HEAD_BYTES = 1 << 16
MOST_CONNECTIONS = 1000  # requests on further ones are refused


class Connection(HttpToolsProtocol):
    """A connection that is closed if the head of a request is too slow or too large."""

    _timer: asyncio.TimerHandle | None = None
    _is_in_head = True
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def on_message_begin(self) -> None:
        """Begins to wait for the rest of a head."""
        super().on_message_begin()
        self._wait_for_head()

    def on_headers_complete(self) -> None:
        """The head is complete. The application refuses the request if there are too many connections."""
        self._stop_waiting()
        self._is_in_head = False
        self.scope["diantu.is_crowded"] = len(self.connections) > MOST_CONNECTIONS  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Counts the bytes of a head."""
        if self._is_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        # Of a chunk that has the end of a head and a body, nothing counts.
        if self._is_in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, f"the headers are larger than {HEAD_BYTES >> 10} kB; send less")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._is_in_head, self._head_bytes = True, 0
        sentence = f"the headers did not arrive within {HEAD_SECONDS:g} s; send them faster"
        self._timer = self.loop.call_later(HEAD_SECONDS, self._refuse, 408, sentence)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def send_400_response(self, msg: str) -> None:
        """Answers what cannot be parsed."""
        self._refuse(400, "this is no valid HTTP request; check its first line, its headers and the length of its body")

    def _refuse(self, status: int, sentence: str) -> None:
        if self.transport.is_closing():
            return
        response = problem_response(status, sentence, headers={"connection": "close"})
        headers = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
        self.transport.write(STATUS_LINE[status] + headers + b"\r\n" + bytes(response.body))
        self.transport.close()

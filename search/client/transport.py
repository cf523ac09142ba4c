"""Requests to a service: its token, another try where the service is busy, and its refusals as diantu's errors."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...datasets import InputError, PixelsError, ServiceError
from ...datasets.errors import DiantuError, first_line

if TYPE_CHECKING:
    import httpx

# How often a request is sent, at most, to a service that is busy (429), and the longest pause between two tries.
_TRIES = 4
_LONGEST_PAUSE = 10.0
_PROBLEM = "application/problem+json"
# Statuses that say that the service cannot, for now; the others say that something is wrong with the request.
_MAY_PASS = (429, 500, 502, 503, 504)


class Transport:
    """Sends requests to one service. Threads may share it: it keeps connections and nothing else.

    Attributes:
        url: the service's address.
    """

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        """See `Client`.

        Raises:
            InputError: if httpx is not installed, or the address or the token cannot be used.
        """
        if importlib.util.find_spec("httpx") is None:
            raise InputError('a Client needs httpx, which is not installed; run: pip install "diantu[client]"')
        import httpx

        self.url = url.rstrip("/")
        self._timeout = timeout
        headers = {"Accept": f"application/json, image/*, {_PROBLEM}", "User-Agent": "diantu"}
        if token is not None:
            headers["Authorization"] = f"Bearer {_checked_token(token)}"
        try:
            address = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise InputError(f"{url!r} is not an address ({error}); give one like http://127.0.0.1:8000") from error
        if address.scheme not in ("http", "https") or not address.host:
            raise InputError(f"{url!r} is not the address of a service; give one like http://127.0.0.1:8000")
        self._http = httpx.Client(base_url=address, headers=headers, timeout=timeout)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def get(self, path: str, **parameters: str | list[str]) -> Any:
        """What a path answers, as JSON values.

        Raises:
            InputError: if the service refuses the request.
            ServiceError: if it cannot be reached, is busy, or could not answer.
        """
        return self._values(self._sent("GET", path, params=parameters))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What a path answers to JSON values; raises as `get`."""
        try:
            content = json.dumps(body, allow_nan=False, default=_number, ensure_ascii=False).encode()
        except ValueError as error:
            raise InputError("a number of the query or its options is not finite; give finite ones") from error
        headers = {"Content-Type": "application/json"}
        return self._values(self._sent("POST", path, content=content, headers=headers))

    def image(self, path: str, **parameters: str) -> bytes:
        """The bytes of an image.

        Raises:
            PixelsError: if the service has it no longer.
            InputError: if the service refuses the request.
            ServiceError: if it cannot be reached, is busy, or could not answer.
        """
        answer = self._sent("GET", path, params=parameters)
        if answer.status_code in (404, 410):
            raise PixelsError(self._sentence(answer))
        return self._good(answer).content

    def _values(self, answer: httpx.Response) -> Any:
        try:
            return self._good(answer).json()
        except ValueError as error:
            if isinstance(error, DiantuError):
                raise
            raise self._stranger(answer) from error

    def _sent(self, method: str, path: str, **content: Any) -> httpx.Response:
        """The last answer of up to `_TRIES`."""
        for left in reversed(range(_TRIES)):
            answer = self._sent_once(method, path, **content)
            if answer.status_code != 429 or not left:
                return answer
            time.sleep(_pause(answer.headers.get("Retry-After", "")))
        raise AssertionError("unreachable")

    def _sent_once(self, method: str, path: str, **content: Any) -> httpx.Response:
        import httpx

        try:
            try:
                return self._http.request(method, path, **content)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                # The service had just closed a connection that was kept. All requests only read: once more is safe.
                return self._http.request(method, path, **content)
        except httpx.TimeoutException as error:
            raise ServiceError(
                f"{self.url} did not answer within {self._timeout:g} s; ask for less, or give a longer timeout"
            ) from error
        except httpx.TransportError as error:
            raise ServiceError(
                f"{self.url} cannot be reached ({first_line(error)}); check the address, and whether diantu serve runs"
            ) from error

    def _good(self, answer: httpx.Response) -> httpx.Response:
        if answer.status_code == 200:
            return answer
        if answer.status_code in _MAY_PASS:
            raise ServiceError(self._sentence(answer))
        raise InputError(self._sentence(answer))

    def _sentence(self, answer: httpx.Response) -> str:
        """Why the service refuses a request, in its own words."""
        if answer.headers.get("Content-Type", "").partition(";")[0] != _PROBLEM:
            raise self._stranger(answer)
        try:
            return str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._stranger(answer) from error

    def _stranger(self, answer: httpx.Response) -> ServiceError:
        """What answers is another server, or a proxy in front of the service."""
        kind = answer.headers.get("Content-Type", "no type")
        return ServiceError(
            f"{answer.url} answers {answer.status_code} with {kind}, which is not an answer of diantu; "
            "check the address, and what is between this machine and the service"
        )


def _checked_token(token: str) -> str:
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise InputError("the token is not one word of ASCII characters; give the text of the service's token file")
    return token


def _pause(seconds: str) -> float:
    """The seconds of a header `Retry-After`; its other form, a date, counts as a second."""
    return min(float(seconds), _LONGEST_PAUSE) if seconds.isdecimal() else 1.0


def _number(value: Any) -> Any:
    """A number of numpy as JSON knows it."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a query or an option cannot be {value!r}")

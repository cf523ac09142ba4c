"""What every request passes before the application: headers, host, token, the size and the arrival of its body."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .context import Context
from .problems import ProblemError, problem_response
from .settings import is_loopback
from .tokens import is_authorized

# What a page may do that is not the service's own: nothing. The page sets a policy of its own.
_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """An ASGI middleware that refuses what no route should see, and counts requests."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app = app
        self._context = context
        self._resource_policy = "cross-origin" if context.settings.cors else "same-origin"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        scope["diantu.began"] = began = time.monotonic()
        if scope["path"].startswith("//"):  # some clients of clip-retrieval call //indices-list
            scope["path"] = "/" + scope["path"].lstrip("/")
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(message)
            await send(message)

        try:
            if (problem := self._refusal(scope)) is not None:
                response = problem_response(
                    problem.status, str(problem), instance=quote(scope["path"]), headers=problem.headers
                )
                await response(scope, receive, sending)
            else:
                await self._app(scope, self._limited(scope, receive), sending)
        finally:
            route = getattr(scope.get("route"), "path", "")
            seconds = time.monotonic() - began
            self._context.metrics.requests.labels(route, scope["method"], status).observe(seconds)

    def _add_headers(self, message: Message) -> None:
        headers = MutableHeaders(raw=message["headers"])
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("cross-origin-resource-policy", self._resource_policy)
        headers.setdefault("content-security-policy", _POLICY)
        headers.setdefault("cache-control", "no-store")
        message["headers"] = headers.raw

    def _refusal(self, scope: Scope) -> ProblemError | None:
        """Why a request is refused because of its headers; None if it is not."""
        settings, headers = self._context.settings, Headers(scope=scope)
        if scope.get("diantu.is_crowded"):
            return ProblemError(
                503,
                "too many connections are open; close some, or try again later",
                {"Retry-After": "1", "Connection": "close"},
            )
        if settings.token is None and settings.is_local and not _is_local_name(headers.get("host", "")):
            # Against DNS rebinding: a stranger's page whose host name leads to this machine.
            return ProblemError(
                421, f"this service answers as localhost only, not as {headers.get('host', '')!r}; call it by 127.0.0.1"
            )
        if settings.token is not None and not is_authorized(scope["path"], scope["method"], headers, settings.token):
            return ProblemError(
                401,
                "this service needs its token; send the header Authorization: Bearer …",
                {"WWW-Authenticate": 'Bearer realm="diantu"'},
            )
        try:
            length = int(headers.get("content-length", "0"))
        except ValueError:
            return ProblemError(400, "the header Content-Length is not a number")
        return self._too_large() if length > settings.max_body else None

    def _too_large(self) -> ProblemError:
        return ProblemError(
            413,
            f"the body is larger than {self._context.settings.max_body / (1 << 20):.3g} MB; send less",
            {"Connection": "close"},
        )

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """`receive` with a limit of bytes and a deadline; what exceeds them is raised where the body is read."""
        num_bytes, seconds = 0, self._context.settings.deadline
        is_complete = False

        async def receiving() -> Message:
            nonlocal num_bytes, is_complete
            if is_complete:
                return await receive()  # waits until the client disconnects
            left = scope["diantu.began"] + seconds - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), max(left, 0.001))
            except asyncio.TimeoutError:
                is_complete = True
                raise ProblemError(
                    408,
                    f"the body did not arrive within {seconds:g} s; send it faster, or less",
                    {"Connection": "close"},
                ) from None
            if message["type"] == "http.request":
                num_bytes += len(message.get("body", b""))
                is_complete = not message.get("more_body", False)
                if num_bytes > self._context.settings.max_body:
                    raise self._too_large()
            return message

        return receiving


def _is_local_name(host: str) -> bool:
    """Whether a header `Host` names this machine: `localhost`, or an address of its loopback interface."""
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False

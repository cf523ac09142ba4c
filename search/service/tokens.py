"""The token of a service: in a header, or in a cookie that stands for it. Both are compared in constant time.

The cookie holds its end and an HMAC of it with the token as key, so the service keeps nothing about sessions, they
outlast a restart, and another token ends them all.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers

COOKIE = "diantu_session"
SECONDS = 7 * 24 * 3600  # that a session lasts
# What a browser without a session needs to show the page that asks for the token, and what monitors ask for.
_OPEN = ("/", "/healthz", "/readyz")
_SESSION = "/v1/session"


def is_authorized(path: str, method: str, headers: Headers, token: str) -> bool:
    """Whether a request may be answered where there is a token."""
    return path in _OPEN or path.startswith("/page/") or path == _SESSION or has_token(headers, token)


def has_token(headers: Headers, token: str) -> bool:
    """Whether a request has the token, or the cookie of a session."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and is_token(given.strip(), token):
        return True
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return False
    return cookie is not None and _is_session(cookie.value, token)


def is_token(given: str, token: str) -> bool:
    """Whether a text is the token."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def new_session(token: str) -> str:
    """The value of the cookie for a session that begins now."""
    end = str(int(time.time()) + SECONDS)
    return f"{end}.{_signature(end, token)}"


def _is_session(value: str, token: str) -> bool:
    end, _, signature = value.partition(".")
    is_signed = hmac.compare_digest(signature.encode("utf-8", "replace"), _signature(end, token).encode())
    return is_signed and end.isdecimal() and int(end) > time.time()


def _signature(end: str, token: str) -> str:
    return hmac.new(token.encode(), f"diantu session until {end}".encode(), hashlib.sha256).hexdigest()

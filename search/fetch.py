"""Fetches an image from a URL in metadata, without access to private networks (against request forgery, SSRF).

The host's addresses are looked up once and checked, and the connection goes to a checked address. So a host name that
resolves to another address the next time (DNS rebinding) has no effect. The same rules apply to redirects.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from urllib.parse import urljoin, urlsplit

from ..datasets.errors import PixelsError

MAX_BYTES = 32 << 20
SECONDS = 10.0
_REDIRECTS = 3
_CHUNK = 1 << 16


def fetch(url: str, *, private_hosts: bool = False, max_bytes: int = MAX_BYTES, seconds: float = SECONDS) -> bytes:
    """Downloads the content of a URL.

    Args:
        url: an http or https URL.
        private_hosts: whether the host may be this machine or in a private network.
        max_bytes: the largest content that is accepted.
        seconds: time limit for the whole download; if the server stops in the middle, it may take twice as long.

    Raises:
        PixelsError: if the content cannot be downloaded under these conditions.
    """
    deadline = time.monotonic() + seconds
    try:
        for _ in range(_REDIRECTS + 1):
            data, location = _get(url, private_hosts, max_bytes, deadline)
            if location is None:
                return data
            url = urljoin(url, location)
        raise ValueError(f"it was redirected more than {_REDIRECTS} times")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise PixelsError(f"the image {url} cannot be downloaded: {error}") from error


def _get(url: str, private_hosts: bool, max_bytes: int, deadline: float) -> tuple[bytes, str | None]:
    """The content of a URL, or the URL that it redirects to."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("only http and https are allowed")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    connection = http.client.HTTPConnection(parts.hostname, port, timeout=_left(deadline))
    connection.sock = _connected(parts.hostname, port, private_hosts, deadline)
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(connection.sock, server_hostname=parts.hostname)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"User-Agent": "diantu", "Accept": "image/*"})
        response = connection.getresponse()
        if response.status in (301, 302, 303, 307, 308) and response.headers["Location"]:
            return b"", response.headers["Location"]
        if response.status != 200:
            raise ValueError(f"the server answered {response.status} {response.reason}")
        return _read(response, max_bytes, deadline), None
    finally:
        connection.close()


def _connected(host: str, port: int, private_hosts: bool, deadline: float) -> socket.socket:
    """Connects to one of a host's addresses; all of them must be public, unless private ones are allowed."""
    addresses = {str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    if not private_hosts:
        for address in addresses:
            if not ipaddress.ip_address(address.partition("%")[0]).is_global:
                raise ValueError(f"{host} is on this machine or in a private network, which must be allowed")
    return socket.create_connection((sorted(addresses)[0], port), timeout=_left(deadline))


def _read(response: http.client.HTTPResponse, max_bytes: int, deadline: float) -> bytes:
    """Reads the content; a single read takes at most the time that was left when the connection was made."""
    found = bytearray()
    while chunk := response.read1(_CHUNK):
        found += chunk
        _left(deadline)
        if len(found) > max_bytes:
            raise ValueError(f"it is larger than {max_bytes >> 20} MB")
    return bytes(found)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("it takes too long")
    return left

"""Fetches an image from a URL in metadata, without access to private networks (against request forgery, SSRF).

The host's addresses are looked up once and checked, and the connection goes to a checked address. So a host name that
resolves to another address the next time (DNS rebinding) has no effect. The same rules apply to redirects. Proxies of
the environment are not used, because a proxy would look the host up itself.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
from urllib.parse import urljoin, urlsplit

from ..datasets.addresses import is_public
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
        seconds: time limit for the whole download: looking up the host, connecting, headers, content, redirections.

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
    sock = _connected(parts.hostname, port, private_hosts, deadline)
    try:
        if parts.scheme == "https":
            sock.settimeout(_left(deadline))
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=parts.hostname)
        connection.sock = _TimedSocket(sock, deadline)
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
        sock.close()


def _connected(host: str, port: int, private_hosts: bool, deadline: float) -> socket.socket:
    """Connects to one of a host's addresses; all of them must be public, unless private ones are allowed."""
    addresses = _addresses(host, port, deadline)
    if not private_hosts and not all(map(is_public, addresses)):
        raise ValueError(f"{host} is on this machine or in a private network, which must be allowed")
    for address in addresses[:-1]:
        try:
            return socket.create_connection((address, port), timeout=_left(deadline))
        except OSError:
            continue
    return socket.create_connection((addresses[-1], port), timeout=_left(deadline))


def _addresses(host: str, port: int, deadline: float) -> list[str]:
    """Looks a host up. The system's resolver knows no time limit, so it runs in a thread that may be left behind."""
    found: list[str] = []
    problem: list[Exception] = []

    def look_up() -> None:
        try:
            found.extend(str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            problem.append(error)

    thread = threading.Thread(target=look_up, name="resolver", daemon=True)
    thread.start()
    thread.join(_left(deadline))
    if problem:
        raise problem[0]
    _left(deadline)
    if not found:
        raise ValueError(f"{host} has no address")
    return list(dict.fromkeys(found))


class _TimedSocket:
    """What `http.client` needs of a socket, with one deadline: a timeout of Python's starts again with every byte."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_left(self._deadline))
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        del mode  # http.client only reads from it
        return io.BufferedReader(_TimedReader(self._sock, self._deadline))

    def close(self) -> None:
        """Does nothing: `http.client` closes it before it reads an answer that states no length. `_get` closes it."""


class _TimedReader(io.RawIOBase):
    """Reads from a socket until a deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._sock.settimeout(_left(self._deadline))
        return self._sock.recv_into(buffer)


def _read(response: http.client.HTTPResponse, max_bytes: int, deadline: float) -> bytes:
    """Reads the content."""
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

"""Requests to a service on this machine: as many clients as wanted, each with one connection if the service keeps it.

The clients are as plain as they can be, because they share the processors with the service that they measure.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit


class Client:
    """One connection."""

    def __init__(self, url: str, path: str) -> None:
        """Connects to the host of a URL; all requests are `POST path`."""
        self._host = urlsplit(url).netloc
        self._path = path
        self._connect()

    def request(self, body: bytes) -> bytes:
        """The answer's body.

        Raises:
            RuntimeError: if the status is not 200.
        """
        head = f"POST {self._path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        self._socket.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._received()
        lines = received[:end].decode("latin-1").lower().split("\r\n")
        length = int(next(line for line in lines if line.startswith("content-length:")).partition(":")[2])
        answer = bytearray(received[end + 4 :])
        while len(answer) < length:
            answer += self._received()
        if " 200" not in lines[0]:
            raise RuntimeError(f"{lines[0]}: {answer.decode()[:500]}")
        if lines[0].startswith("http/1.0") or "connection: close" in lines:
            self.close()
            self._connect()
        return bytes(answer)

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()

    def _connect(self) -> None:
        host, port = self._host.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _received(self) -> bytes:
        data = self._socket.recv(1 << 16)
        if not data:
            raise RuntimeError("the service has closed the connection")
        return data


def milliseconds(url: str, path: str, bodies: Sequence[Any]) -> list[float]:
    """How long each request takes, one after another."""
    client, found = Client(url, path), []
    for body in bodies:
        data = json.dumps(body).encode()
        started = time.perf_counter()
        client.request(data)
        found.append(1000 * (time.perf_counter() - started))
    client.close()
    return found


def per_second(url: str, path: str, bodies: Sequence[Any], *, clients: int) -> float:
    """Requests that are answered each second, by clients that send one after another."""
    data = [json.dumps(body).encode() for body in bodies]
    shares = [data[first::clients] for first in range(clients)]
    failures: list[Exception] = []

    def send(share: Sequence[bytes]) -> None:
        try:
            client = Client(url, path)
            for body in share:
                client.request(body)
            client.close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=send, args=(share,)) for share in shares]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return len(data) / (time.perf_counter() - started)

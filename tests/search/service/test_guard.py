"""What no route should see is refused before: tokens, hosts, bodies, heads of requests."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from services import client, planted, running

from diantu.search.service import connections
from diantu.search.service.tokens import COOKIE, new_session

TOKEN = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
SEARCH = {"text": "a", "k": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted(tmp_path_factory.mktemp("service") / "g")


@pytest.fixture(scope="module")
def locked(root: Path) -> Iterator[TestClient]:
    with client(root, token=TOKEN) as calling:
        yield calling


def test_without_the_token_only_the_page_and_the_health_answer(locked: TestClient) -> None:
    locked.cookies.clear()
    for path in ("/", "/healthz", "/v1/session"):
        assert locked.get(path).status_code == 200, path
    for path in ("/metrics", "/openapi.json", "/v1/galleries", "/v1/rows/1/image", "/nothing"):
        answer = locked.get(path)
        assert (answer.status_code, answer.json()["type"]) == (401, "urn:diantu:unauthorized"), path
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert locked.post("/v1/search", json=SEARCH).status_code == 401
    assert locked.post("/v1/search", json=SEARCH, headers=BEARER).status_code == 200
    assert locked.get("/metrics", headers={"Authorization": f"bearer  {TOKEN} "}).status_code == 200


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ü", TOKEN]
)
def test_other_tokens_are_refused(locked: TestClient, header: str) -> None:
    locked.cookies.clear()
    answer = locked.post("/v1/search", json=SEARCH, headers={"Authorization": header.encode()})
    assert answer.status_code == 401


def test_a_browser_begins_and_ends_a_session(locked: TestClient) -> None:
    locked.cookies.clear()
    assert locked.get("/v1/session").json() == {"token_required": True, "authorized": False}
    assert locked.post("/v1/session", json={"token": "another"}).status_code == 401
    begun = locked.post("/v1/session", json={"token": TOKEN})
    assert begun.json() == {"token_required": True, "authorized": True}
    flags = begun.headers["set-cookie"].lower()
    assert "httponly" in flags
    assert "samesite=strict" in flags
    assert TOKEN not in flags
    assert locked.get("/v1/session").json()["authorized"]
    assert locked.post("/v1/search", json=SEARCH).status_code == 200
    locked.delete("/v1/session")
    assert locked.post("/v1/search", json=SEARCH).status_code == 401


def test_a_session_ends_and_cannot_be_forged(locked: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    locked.cookies.clear()
    end, _, signature = new_session(TOKEN).partition(".")
    forged = [
        f"{int(end) + 1}.{signature}",
        f"{end}.",
        f"{end}.{'0' * 64}",
        new_session("another"),
        "x",
        f".{signature}",
    ]
    for value in forged:
        assert locked.get("/metrics", headers={"Cookie": f"{COOKIE}={value}"}).status_code == 401, value
    good = {"Cookie": f"a=b; {COOKIE}={end}.{signature}"}
    assert locked.get("/metrics", headers=good).status_code == 200
    monkeypatch.setattr(time, "time", lambda: float(end) + 1)
    assert locked.get("/metrics", headers=good).status_code == 401


def test_a_local_service_answers_to_local_names_only(root: Path) -> None:
    """Against DNS rebinding: the page of a stranger whose host name leads to this machine."""
    with client(root) as calling:
        for host in ("localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:1"):
            assert calling.get("/healthz", headers={"Host": host}).status_code == 200, host
        for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[", "192.168.0.1"):
            answer = calling.get("/healthz", headers={"Host": host})
            assert (answer.status_code, answer.json()["type"]) == (421, "urn:diantu:misdirected"), host
    with client(root, host="0.0.0.0") as calling:
        assert calling.get("/healthz", headers={"Host": "search.example"}).status_code == 200


def test_only_named_origins_may_call(root: Path) -> None:
    named, other = {"Origin": "https://example.org"}, {"Origin": "https://evil.example"}
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    with client(root) as calling:
        assert "access-control-allow-origin" not in calling.get("/healthz", headers=named).headers
    with client(root, cors=("https://example.org",), token=TOKEN) as calling:
        assert calling.options("/v1/search", headers=named | asks).headers["access-control-allow-origin"] == (
            "https://example.org"
        )
        assert calling.options("/v1/search", headers=other | asks).status_code == 400
        refused = calling.post("/v1/search", json=SEARCH, headers=named)
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://example.org")
        assert "access-control-allow-origin" not in calling.get("/healthz", headers=other).headers


def test_every_answer_tells_browsers_what_not_to_do(locked: TestClient) -> None:
    for path in ("/", "/page/index.html", "/healthz", "/nothing", "/v1/session"):
        headers = locked.get(path, headers=BEARER).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["cache-control"] in ("no-store", "no-cache")


def test_a_body_that_is_too_large(root: Path) -> None:
    with client(root, max_body=1000) as calling:
        body = b'{"text": "' + b"a" * 990 + b'"}'

        def chunks() -> Iterator[bytes]:
            yield body[:500]
            yield body[500:]

        large = {"image": ("a.png", b"a" * 2000)}
        for answer in (
            calling.post("/v1/search", content=body),
            calling.post("/v1/search", content=chunks()),
            calling.post("/v1/search", files=large),
            calling.post("/v1/session", content=chunks()),
        ):
            assert (answer.status_code, answer.json()["type"]) == (413, "urn:diantu:too-large")
        assert calling.post("/v1/search", content=body[: 10 + 400] + b'"}').status_code == 200


def raw(url: str, *pieces: bytes, seconds: float = 20) -> bytes:
    """Sends pieces of a request, and returns all of the answer until the service closes the connection."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=seconds) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = b""
        with contextlib.suppress(ConnectionResetError):  # it need not read all of what it refuses
            while data := connection.recv(1 << 16):
                answer += data
        return answer


def test_slow_clients_are_not_waited_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    head = b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with running(root, deadline=3.0) as url:
        head_of_answer, _, body = raw(url).partition(b"\r\n\r\n")
        assert head_of_answer.startswith(b"HTTP/1.1 408 ")
        assert b"\r\nconnection: close" in head_of_answer
        assert json.loads(body)["detail"] == "the headers did not arrive within 0.5 s; send them faster"
        assert raw(url, head).startswith(b"HTTP/1.1 408 ")
        slow_body = raw(url, head + b"Content-Length: 20\r\n\r\n", b'{"text"')
        assert slow_body.startswith(b"HTTP/1.1 408 ")
        assert b"urn:diantu:slow-body" in slow_body
        assert httpx.get(f"{url}healthz").status_code == 200


def test_tricks_with_heads_are_refused(root: Path) -> None:
    host = b"Host: 127.0.0.1\r\n"
    post = b"POST /v1/search HTTP/1.1\r\n" + host
    with running(root) as url:
        for request, status in (
            (b"GET /healthz HTTP/1.1\r\n" + host + b"X: " + b"a" * 200_000, b"431"),
            (b"GET /healthz HTTP/1.1\r\n" + host + b"X: a\r\n" * 40_000, b"431"),
            (b"GET /" + b"a" * 200_000, b"431"),
            (b"NONSENSE\r\n\r\n", b"400"),
            (b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", b"421"),
            (post + b"Content-Length: -1\r\n\r\n", b"400"),
            (post + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
            (post + b"Connection: close\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
            (b"GET /page/../../settings.py HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n", b"404"),
            (b"GET /page/%2e%2e/service/settings.py HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n", b"404"),
            (b"GET /page/..%2fservice%2fsettings.py HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n", b"404"),
            (b"GET //healthz HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n", b"200"),
        ):  # fmt: skip
            answer = raw(url, request)
            assert answer.startswith(b"HTTP/1.1 " + status) or (status == b"431" and not answer), request[:80]
            if answer and status != b"200":
                problem = json.loads(answer.partition(b"\r\n\r\n")[2])
                assert (problem["status"], bool(problem["detail"])) == (int(status), True)

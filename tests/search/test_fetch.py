"""Pictures from URLs, served by this machine: what is allowed, what is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from pictures import jpeg
from planted import plant, unit

from diantu.search import Gallery
from diantu.search import fetch as download
from diantu.search.fetch import fetch


class Handler(BaseHTTPRequestHandler):
    """`/p.jpg` a picture, `/large` without end, `/slow` byte by byte, `/to?…` a redirection, all else is not found."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/to":
            self.send_response(302)
            self.send_header("Location", query)
            self.end_headers()
            return
        if path != "/status":
            self.send_response(200 if path in ("/p.jpg", "/large", "/slow", "/headers") else 404)
            self.flush_headers() if path == "/headers" else self.end_headers()
        try:
            if path == "/p.jpg":
                self.wfile.write(jpeg(1))
            while path in ("/status", "/headers"):  # what comes before the content never ends
                self.wfile.write(b"X" if path == "/status" else b"A: b\r\n")
                self.wfile.flush()
                if stop.wait(0.05):
                    break
            while path == "/large":
                self.wfile.write(bytes(1 << 16))
            for _ in range(50 if path == "/slow" else 0):
                self.wfile.write(b"x")
                self.wfile.flush()
                stop.wait(0.1)
        except OSError:
            pass

    def log_message(self, *args: object) -> None:
        pass


stop = threading.Event()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{found.server_port}"
    stop.set()
    found.shutdown()
    found.server_close()
    thread.join()


def test_a_picture_comes_from_its_url_if_that_is_allowed(server: str, tmp_path: Path) -> None:
    records = [{"url": f"{server}/p.jpg"}, {"url": None}, {"url": f"{server}/none.jpg"}]
    root = plant(tmp_path, unit(np.eye(3)), records)
    hits = [Gallery.open(root).search(vector=np.eye(3)[i], k=1)[0] for i in range(3)]
    with pytest.raises(FileNotFoundError, match="was imported, and the path of its image is not known"):
        hits[0].bytes()
    with pytest.raises(FileNotFoundError, match="private network, which must be allowed"):
        hits[0].bytes(from_url=True)
    assert hits[0].bytes(from_url=True, private_hosts=True) == jpeg(1)
    assert hits[0].image(from_url=True, private_hosts=True).mode == "RGB"
    assert max(hits[0].thumbnail(16, from_url=True, private_hosts=True).size) == 16
    with pytest.raises(FileNotFoundError, match="was imported, and the path of its image is not known"):
        hits[1].bytes(from_url=True, private_hosts=True)
    with pytest.raises(FileNotFoundError, match="answered 404"):
        hits[2].bytes(from_url=True, private_hosts=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x", "http://localhost/x", "http://[::1]/x", "http://10.0.0.1/x", "http://192.168.1.1/x",
        "http://169.254.169.254/latest/meta-data", "http://0.0.0.0/x", "http://2130706433/x", "http://[::ffff:7f00:1]/x",
        "file:///etc/passwd", "ftp://example.com/x", "gopher://x", "http://", "no url", "http://a b/",
        "http://127.0.0.1:99999/x",
    ],
)  # fmt: skip
def test_other_places_are_refused(url: str) -> None:
    with pytest.raises(FileNotFoundError, match="cannot be downloaded"):
        fetch(url, seconds=2)


def test_redirections_are_followed_by_the_same_rules(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetch(f"{server}/to?/p.jpg", private_hosts=True) == jpeg(1)
    with pytest.raises(FileNotFoundError, match="more than 3 times"):
        fetch(f"{server}/to?/to?/to?/to?/to?/p.jpg", private_hosts=True)
    with pytest.raises(FileNotFoundError, match="only http and https"):
        fetch(f"{server}/to?file:///etc/passwd", private_hosts=True)
    # A public server that sends us home: the first address counts as public here.
    asked: list[str] = []
    connected = download._connected

    def first_is_public(host: str, port: int, private_hosts: bool, deadline: float):
        asked.append(host)
        return connected(host, port, private_hosts or len(asked) == 1, deadline)

    monkeypatch.setattr(download, "_connected", first_is_public)
    with pytest.raises(FileNotFoundError, match="private network"):
        fetch(f"{server}/to?http://localhost/p.jpg")
    assert asked == ["127.0.0.1", "localhost"]


def test_size_and_time_are_bounded(server: str) -> None:
    with pytest.raises(FileNotFoundError, match="larger than 1 MB"):
        fetch(f"{server}/large", private_hosts=True, max_bytes=1 << 20)
    with pytest.raises(FileNotFoundError, match=r"too long|timed out"):
        fetch(f"{server}/slow", private_hosts=True, seconds=0.5)
    for path in ("status", "headers"):
        started = time.monotonic()
        with pytest.raises(FileNotFoundError, match=r"too long|timed out|100 headers"):
            fetch(f"{server}/{path}", private_hosts=True, seconds=0.5)
        assert time.monotonic() - started < 3

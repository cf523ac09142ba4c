"""What a client makes of addresses, tokens, refusals, busy services and strangers."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from servers import free_port
from services import Colours, encoder_of, planted, running

from diantu.datasets import InputError, PixelsError, ServiceError
from diantu.indexing.store.manifest import read_manifest
from diantu.search import Client, Gallery, Query

TOKEN = "a-token-of-more-than-16-characters"
VECTOR = np.arange(1, 9, dtype=np.float32)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted(tmp_path_factory.mktemp("client") / "g")


@contextmanager
def stranger(answer: Callable[[BaseHTTPRequestHandler, int], None]) -> Iterator[str]:
    """A server that is not diantu; `answer` gets each request and its number, from 1."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            counts["requests"] += 1
            answer(self, counts["requests"])

        do_POST = do_GET

        def log_message(self, *args: object) -> None:
            pass

    counts: Counter[str] = Counter()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def say(handler: BaseHTTPRequestHandler, status: int, body: bytes, kind: str, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def problem(handler: BaseHTTPRequestHandler, status: int, detail: str, **headers: str) -> None:
    say(handler, status, f'{{"detail": "{detail}"}}'.encode(), "application/problem+json", **headers)


def test_importing_search_does_not_import_httpx() -> None:
    check = "import sys, diantu.search; print({'httpx', 'fastapi', 'streamlit'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_without_httpx_one_sentence_names_the_extra() -> None:
    check = """
import importlib.util
there = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "httpx" else there(name, package)
from diantu.search import Client, DiantuError
try:
    Client("http://127.0.0.1:8000")
except DiantuError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == 'a Client needs httpx, which is not installed; run: pip install "diantu[client]"\n'


@pytest.mark.parametrize("url", ["", "gallery", "ftp://host/", "http://", "http://[::1", "/data/gallery", "http://h:x"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"give one like http://127\.0\.0\.1:8000"):
        Client(url)


def test_other_settings_are_refused() -> None:
    for token in ("", "  ", "two words\n", "密码"):
        with pytest.raises(InputError, match="token"):
            Client("http://127.0.0.1", token=token + "\x00")
    with pytest.raises(InputError, match="timeout is 0"):
        Client("http://127.0.0.1", timeout=0)


def test_nobody_answers() -> None:
    with Client(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(ServiceError) as error:
        client.search(vector=VECTOR)
    assert "cannot be reached" in str(error.value)
    assert "Connection refused" in str(error.value)
    assert isinstance(error.value, ConnectionError)


def test_the_token_is_sent(root: Path) -> None:
    with running(root, token=TOKEN) as url:
        with Client(url, token=f"{TOKEN}\n") as client:  # as it stands in its file
            assert len(client.search(vector=VECTOR, k=2)) == 2
        for token in (None, "another-token-that-is-wrong"):
            with Client(url, token=token) as client, pytest.raises(InputError, match="token"):
                client.search(vector=VECTOR)


def test_galleries_have_names(root: Path) -> None:
    with running(root) as url:
        with Client(url + "/", gallery="g") as client:
            assert (client.url, len(client)) == (url.rstrip("/"), 60)
            assert client.rows([3])[0] == Gallery.open(root).rows([3])[0]
        with Client(url, gallery="../h") as client:
            for ask in (lambda: client.search(vector=VECTOR), lambda: client.rows([0])):
                with pytest.raises(InputError, match=r"the gallery '\.\./h' is not served; give one of: g"):
                    ask()
            with pytest.raises(InputError):
                len(client)


def test_numbers_that_are_not_finite_are_refused(root: Path) -> None:
    with running(root) as url, Client(url) as client:
        for bad in ({"vector": VECTOR * np.nan}, {"vector": VECTOR, "min_score": np.inf}):
            with pytest.raises(InputError, match="is not finite"):
                client.search(**bad)


class Slow(Colours):
    """An encoder that takes its time."""

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        time.sleep(0.4)
        return super().encode_texts(texts)


def test_a_busy_service_is_asked_again(root: Path) -> None:
    """Two threads and no queue: six searches at a time are too many, yet all get their answer."""
    encoder = Slow(read_manifest(root).spec)
    with running(root, encoder, threads=2, queue=2) as url, Client(url) as client, ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda number: client.search(f"text {number}", k=1), range(6)))
    assert [len(hits) for hits in answers] == [1] * 6


def test_a_service_that_stays_busy_says_so_after_four_tries() -> None:
    asked: list[int] = []

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        asked.append(number)
        problem(handler, 429, "7 requests wait already; try again in 0 s", Retry_After="0")

    with stranger(answer) as url, Client(url) as client, pytest.raises(ServiceError, match="7 requests wait already"):
        client.search(vector=VECTOR)
    assert asked == [1, 2, 3, 4]


def test_a_deadline_ends_the_wait(root: Path) -> None:
    encoder = Slow(read_manifest(root).spec)
    for settings, timeout, sentence in (
        ({"deadline": 0.2}, 60.0, "it took longer than"),
        ({}, 0.1, r"did not answer within 0\.1 s"),
    ):
        with running(root, encoder, **settings) as url, Client(url, timeout=timeout) as client:
            refused = pytest.raises(ServiceError, match=sentence)
            with refused:
                client.search("a text")


def test_a_body_that_is_too_large_is_refused_in_the_words_of_the_service(root: Path) -> None:
    with (
        running(root, max_body=1000) as url,
        Client(url) as client,
        pytest.raises(InputError, match="the body is larger than"),
    ):
        client.search(vector=np.random.default_rng(0).random(4000))


def test_a_dropped_connection_is_tried_once_more() -> None:
    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            handler.close_connection = True  # without a word
        else:
            problem(handler, 503, "asked again")

    with stranger(answer) as url, Client(url) as client, pytest.raises(ServiceError, match="asked again"):
        len(client)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"<html>hello</html>", "text/html"),
        (404, b"no such page", "text/plain"),
        (502, b"<html>bad gateway</html>", "text/html"),
        (301, b"", "text/html"),
        (400, b"[1]", "application/problem+json"),
        (400, b"{", "application/problem+json"),
    ],
)
def test_answers_of_strangers_are_named(status: int, body: bytes, kind: str) -> None:
    with stranger(lambda handler, number: say(handler, status, body, kind)) as url, Client(url) as client:
        for ask in (lambda: client.search(vector=VECTOR), lambda: client.spaces):
            with pytest.raises(ServiceError) as error:
                ask()
            assert f" answers {status} with {kind}, which is not an answer of diantu" in str(error.value)


def test_images_without_a_source_and_rows_that_moved(root: Path) -> None:
    with running(root) as url, Client(url) as client:
        hit = client.search(vector=VECTOR, k=1)[0]
        with pytest.raises(PixelsError, match="the path of its image is not known"):  # planted rows have no images
            hit.image()
        with pytest.raises(PixelsError, match="the gallery was compacted; search again"):
            replace(hit, source=replace(hit.source, part="0" * 12)).image()


def test_hits_follow_the_gallery(root: Path, tmp_path: Path) -> None:
    """A column that comes with a new part is known to the next hits."""
    from planted import plant, unit

    folder = planted(tmp_path / "g", num_rows=4, num_parts=1)
    with running(folder, refresh_seconds=0.05) as url, Client(url) as client:
        before = client.search(vector=VECTOR, k=1)[0]
        assert "price" not in before.metadata
        records = [{"width": 1, "price": 2.5}, {"width": 2}]
        plant(folder, unit(np.random.default_rng(5).standard_normal((2, 8))), records, 1)
        deadline = time.monotonic() + 60
        while len(client) == 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        prices = {hit.row: hit.metadata["price"] for hit in client.search(Query(rows=[0]), k=6)}
    assert sorted(value for value in prices.values() if value is not None) == [2.5]


def test_threads_share_a_client(root: Path) -> None:
    local = Gallery.open(root, encoder=encoder_of(root))
    with running(root) as url, Client(url) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda row: client.search(Query(rows=[row]), k=3), range(60)))
    expected = [[hit.key for hit in local.search(Query(rows=[row]), k=3)] for row in range(60)]
    assert [[hit.key for hit in hits] for hits in answers] == expected

"""A service as a process has it: its socket, its end, its options."""

from __future__ import annotations

import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from command_line import CommandLine
from services import Colours, planted, running, wait_for

from diantu.datasets import InputError
from diantu.indexing.encoders import EncoderSpec
from diantu.indexing.store.manifest import read_manifest
from diantu.scripts.commands import demo as demo_command
from diantu.search.service import connections
from diantu.search.service.server import Server
from diantu.search.service.settings import Settings, read_encoders, read_galleries, read_token


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return planted(tmp_path / "g")


class Held(Colours):
    """An encoder that holds the text `slow` until it is told to go on."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(spec)
        self.is_held, self.go_on = threading.Event(), threading.Event()

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        if "slow" in texts:
            self.is_held.set()
            assert self.go_on.wait(60)
        return super().encode_texts(texts)


def test_the_end_waits_for_what_runs(root: Path) -> None:
    held = Held(read_manifest(root).spec)
    with ThreadPoolExecutor(1) as pool:
        with running(root, held) as url:
            slow = pool.submit(httpx.post, f"{url}v1/search", json={"text": "slow", "k": 3}, timeout=60)
            assert held.is_held.wait(60)
            threading.Timer(0.5, held.go_on.set).start()
        answer = slow.result()
    assert (answer.status_code, len(answer.json()["hits"])) == (200, 3)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}healthz")


def test_further_connections_are_refused_in_one_sentence(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 2)
    with running(root) as url, httpx.Client() as first, httpx.Client() as second, httpx.Client() as third:
        assert [client.get(f"{url}healthz").status_code for client in (first, second)] == [200, 200]
        refused = third.post(f"{url}v1/search", json={"rows": [1]})
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:diantu:unavailable")
        assert "too many connections are open" in refused.json()["detail"]
        assert (refused.headers["retry-after"], refused.headers["connection"]) == ("1", "close")
        second.close()
        wait_for(lambda: third.get(f"{url}healthz").status_code == 200)


def test_a_full_queue_and_a_deadline_over_http(root: Path) -> None:
    held = Held(read_manifest(root).spec)
    with running(root, held, threads=1, queue=1, deadline=4.0) as url, ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(httpx.post, f"{url}v1/search", json={"text": "slow"}, timeout=60) for _ in range(2)]
        assert held.is_held.wait(60)
        wait_for(lambda: "diantu_queue_length 1.0" in httpx.get(f"{url}metrics").text)
        busy = httpx.post(f"{url}v1/search", json={"rows": [1]})
        assert (busy.status_code, busy.json()["type"], busy.headers["retry-after"]) == (429, "urn:diantu:busy", "1")
        for late in slow:
            answer = late.result()
            assert (answer.status_code, answer.json()["type"]) == (504, "urn:diantu:deadline")
        held.go_on.set()
        wait_for(lambda: httpx.post(f"{url}v1/search", json={"rows": [1]}).status_code == 200)


def test_metrics_say_what_was_done(root: Path) -> None:
    with running(root) as url:
        for status, body in ((200, {"text": "a"}), (200, {"rows": [1]}), (400, {"rows": [1000]})):
            assert httpx.post(f"{url}v1/search", json=body).status_code == status
        text = httpx.get(f"{url}metrics").text
    for line in (
        'diantu_request_seconds_count{method="POST",route="/v1/search",status="200"} 2.0',
        'diantu_request_seconds_count{method="POST",route="/v1/search",status="400"} 1.0',
        "diantu_search_seconds_count 2.0",
        "diantu_metadata_seconds_count 2.0",
        "diantu_queue_length 0.0",
    ):
        assert line in text.splitlines()
    assert float(text.partition("diantu_encode_batch_size_sum ")[2].split()[0]) >= 2  # one of them at the start


def test_sigterm_ends_the_command_with_success(
    diantu: CommandLine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, so that nothing is imported again: the signal comes when the service answers."""
    answered: list[int] = []

    def announce(url: str) -> None:
        def end() -> None:
            answered.append(httpx.get(f"{url}healthz").status_code)
            signal.raise_signal(signal.SIGTERM)

        threading.Thread(target=end).start()

    monkeypatch.setattr("diantu.scripts.commands.serve.announce", announce)
    done = diantu("serve", "--gallery", f"cats={root}", "--port", "0")
    assert (done.returncode, answered) == (0, [200]), done.stderr
    assert "stopped" in done.stderr


def test_the_demo_opens_its_page(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []

    def open_page(url: str) -> None:
        opened.append(url)
        assert httpx.get(url).headers["content-type"].startswith("text/html")
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", open_page)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo_command._serve(root, Colours(read_manifest(root).spec), port)  # type: ignore[arg-type]
    (url,) = opened
    assert f":{port}/" not in url
    assert capsys.readouterr().out == f"page     {url}\n"


def test_an_open_service_must_be_meant(diantu: CommandLine, root: Path, tmp_path: Path) -> None:
    def refused(*options: str | Path) -> str:
        done = diantu("serve", "--gallery", root, *options)
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr

    assert "give --token-file FILE, or --no-token to let everybody search" in refused("--host", "0.0.0.0")
    assert "give --token-file FILE" in refused("--host", "192.168.1.5")
    short = tmp_path / "token"
    short.write_text("secret\n")
    assert "one word of 16 to 4096 ASCII characters" in refused("--token-file", short)
    assert "cannot be read" in refused("--token-file", tmp_path / "none")
    assert "two galleries are called 'g'" in refused("--gallery", root)
    assert "is not an origin" in refused("--cors", "*")
    assert "there is no gallery at" in diantu("serve", "--gallery", tmp_path / "none").stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "cannot be bound" in refused("--port", str(taken.getsockname()[1]))
    assert "nowhere.invalid:8000 cannot be bound" in refused("--host", "nowhere.invalid", "--no-token")


def test_galleries_and_encoders_have_names(tmp_path: Path) -> None:
    galleries = read_galleries(["/data/cats", "dogs=/data/x", "/data/a b=c", "中文=画廊"])
    assert galleries == {
        "cats": Path("/data/cats"), "dogs": Path("/data/x"), "a-b-c": Path("/data/a b=c"), "中文": Path("画廊"),
    }  # fmt: skip
    assert read_encoders(["hf:x", "dogs=hf:y"], galleries) == {
        "cats": "hf:x", "dogs": "hf:y", "a-b-c": "hf:x", "中文": "hf:x",
    }  # fmt: skip
    token = tmp_path / "token"
    token.write_text("  0123456789abcdef\n")
    assert read_token(str(token)) == "0123456789abcdef"
    assert Settings(galleries=galleries, host="::1").is_local
    assert not Settings(galleries=galleries, host="0.0.0.0").is_local


def test_the_address_is_one_for_this_machine(root: Path) -> None:
    for host, name in (("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")):
        server = Server(Settings(galleries={"g": root}, host=host, port=0))
        assert server.url.startswith(f"http://{name}:")
        server.close()
    with pytest.raises(InputError, match="cannot be bound"):
        Server(Settings(galleries={"g": root}, host="203.0.113.1", port=0))

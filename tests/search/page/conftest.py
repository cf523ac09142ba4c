"""The page in Chromium, over a service with two galleries: the demo's photographs, and rows of a hostile stranger."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import Browsing
from servers import chromium
from strangers import Looks, write_strangers

SECONDS = 60


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery whose keys, captions and metadata try to become markup, with two spaces and captions' vectors."""
    return write_strangers(tmp_path_factory.mktemp("strangers"))


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[..., str]]:
    """`serve({"name": folder}, encoders={…}, token=…)` starts a service on a free port and returns its address."""
    import uvicorn

    from diantu.search.service.app import create_app
    from diantu.search.service.settings import Settings

    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(galleries: dict[str, Path], encoders: dict[str, Any] | None = None, **settings: Any) -> str:
        app = create_app(Settings(galleries=galleries, deadline=120, **settings), encoders or {})
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        running.append((server, thread))
        for _ in range(100 * SECONDS):
            if server.started:
                break
            time.sleep(0.01)
        assert server.started
        return f"http://127.0.0.1:{listening.getsockname()[1]}/"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(SECONDS)


@pytest.fixture(scope="session")
def service(demo: Path, strangers: Path, serve: Callable[..., str]) -> str:
    """The address of a service over `demo` and `strangers`."""
    from diantu.indexing.encoders import load_encoder

    encoders = {"demo": load_encoder("conse", device="cpu"), "strangers": Looks()}
    return serve({"demo": demo / "gallery", "strangers": strangers}, encoders)


@pytest.fixture(scope="module", name="chromium")  # while it is open, no other test of this process can run asyncio
def _chromium() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def browse(chromium: Any, service: str) -> Iterator[Callable[..., Browsing]]:
    """`browse("?q=castle")` opens the page in a window of its own. A script's error or a breach of policy fails."""
    opened: list[Browsing] = []

    def start(query: str = "", *, url: str = service, **options: Any) -> Browsing:
        options = {"viewport": {"width": 1280, "height": 800}, "locale": "en-US", "reduced_motion": "reduce"} | options
        browsing = Browsing(chromium.new_context(**options), url)
        opened.append(browsing)
        browsing.open(query)
        return browsing

    yield start
    problems = [problem for browsing in opened for problem in browsing.problems]
    for browsing in opened:
        browsing.context.close()
    assert problems == []

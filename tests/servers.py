"""Servers in processes of their own, and a browser: for tests of what a user reaches through an address."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from zygote import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextlib.contextmanager
def serving(*arguments: str | Path, port: int, ready: str, cwd: Path | None = None) -> Iterator[str]:
    """Runs a command of diantu that serves; ends it as `kill` does, and expects exit code 0 within the patience.

    Args:
        arguments: the command line.
        port: the port of 127.0.0.1 that it serves.
        ready: the path that answers 200 once it is ready.
        cwd: the folder that it runs in.

    Yields:
        Its address, such as `http://127.0.0.1:8000`.
    """
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "diantu.scripts.main", *map(str, arguments)]
    process = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        wait_until(lambda: _answers(address + ready) or process.poll() is not None, f"{command}", pause=0.1)
        if process.poll() is not None:
            pytest.fail(f"{command} ended: {process.communicate()[0]}")
        yield address
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, printed
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it, and what it may have started
        process.communicate()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status == 200
    except (OSError, urllib.error.HTTPError):
        return False


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium; the test is skipped where there is none."""
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if found is None:
        pytest.skip("there is no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        try:
            yield browser
        finally:
            browser.close()

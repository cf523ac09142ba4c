"""`diantu` run inside the test process: the same options, output and exit code, without importing torch again.

Tests about signals, crashes, locks or imports start a process instead; see `zygote`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from diantu.scripts.main import main


class CommandLine:
    """Calls `main` and returns what it printed and its exit code, as `subprocess.run` does."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs one command with these arguments; `stdin` is what it reads from standard input."""
        given = [str(argument) for argument in arguments]
        self._capfd.readouterr()  # drops what was printed before the command
        with _process_state(), mock.patch.object(sys, "stdin", io.StringIO(stdin)), pytest.raises(SystemExit) as ended:
            main(given)
        stdout, stderr = self._capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(given, ended.value.code, stdout, stderr)


@contextlib.contextmanager
def _process_state() -> Iterator[None]:
    """Restores what a command changes in its process: log handlers and levels, the environment, SIGTERM, warnings."""
    loggers = (logging.getLogger(), logging.getLogger("diantu"))
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    terminate = signal.getsignal(signal.SIGTERM)
    loggers[0].handlers.clear()  # pytest's handlers would keep `main` from installing its own
    try:
        with mock.patch.dict(os.environ), warnings.catch_warnings():
            yield
    finally:
        signal.signal(signal.SIGTERM, terminate)
        for logger, handlers, level in before:
            logger.handlers[:] = handlers
            logger.setLevel(level)

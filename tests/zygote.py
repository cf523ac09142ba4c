"""Commands in processes of their own that start at once: forked from a process that has imported what is slow.

A test that kills a job dozens of times would otherwise spend most of its time on importing torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


class Job:
    """One command, with the interface of `subprocess.Popen` as far as tests need it."""

    def __init__(self, pid: int, codes: Path) -> None:
        self.pid = pid
        self._code = codes / str(pid)

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return int(self._code.read_text()) if self._code.exists() else None

    def wait(self) -> int:
        while (code := self.poll()) is None:
            time.sleep(0.002)
        return code

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)


class Zygote:
    """The process that others are forked from. It runs nothing itself, so that it has no threads that a fork loses."""

    def __init__(self, codes: Path) -> None:
        self._codes = codes
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(codes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, *arguments: str | Path) -> Job:
        """Runs `diantu` with some arguments; what it prints is lost."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
        self._process.stdin.flush()
        return Job(int(self._process.stdout.readline()), self._codes)

    def close(self) -> None:
        self._process.communicate()


@contextlib.contextmanager
def zygote() -> Iterator[Zygote]:
    with tempfile.TemporaryDirectory() as folder:
        serving = Zygote(Path(folder))
        try:
            yield serving
        finally:
            serving.close()


def _serve(codes: Path) -> None:
    import torch  # noqa: F401

    from diantu.scripts.main import main

    def note_exit_codes(signum: int, frame: object) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                temporary = codes / f"{ended[0]}.tmp"
                temporary.write_text(str(os.waitstatus_to_exitcode(ended[1])))
                temporary.replace(codes / str(ended[0]))

    signal.signal(signal.SIGCHLD, note_exit_codes)
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            nothing = os.open(os.devnull, os.O_RDWR)
            for descriptor in range(3):
                os.dup2(nothing, descriptor)
            main(json.loads(line))
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))

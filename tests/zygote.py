"""Starts `diantu` commands in processes of their own, without their imports: each is forked from one that has them.

Importing torch and transformers takes seconds, and a test of crashes starts many processes.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# No command takes that long, not even on a busy machine.
PATIENCE_SECONDS = 240.0


def wait_until(condition: Callable[[], object], what: str, *, pause: float = 0.002) -> None:
    """Returns as soon as the condition holds; a test fails if it does not hold within `PATIENCE_SECONDS`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:.0f} seconds for {what}"
        time.sleep(pause)


class Job:
    """One command, with the interface of `subprocess.Popen` as far as tests need it."""

    def __init__(self, pid: int, files: Path) -> None:
        self.pid = pid
        self._files = files

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        path = self._files.with_suffix(".code")
        return int(path.read_text()) if path.exists() else None

    def wait(self) -> int:
        wait_until(lambda: self.poll() is not None, "the end of a command")
        code = self.poll()
        assert code is not None
        return code

    def stderr(self) -> str:
        """What it has written to standard error so far."""
        return self._files.with_suffix(".err").read_text(
            encoding="utf-8", errors="replace"
        )  # a bar may be half written

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)


class Zygote:
    """The process that others are forked from. It runs no command itself: a fork would lose its threads.

    Its commands know the encoder `histogram`, which imports nothing: spawned processes that load a model of
    transformers need ten seconds of processor time each.

    Attributes:
        environment: the variables of its commands.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._num_jobs = 0
        install_histogram(folder)
        self.environment = {**os.environ, "PYTHONPATH": str(folder), "HISTOGRAM_PACE": "0.02"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment
        )

    def start(self, *arguments: str | Path, watched_by: str = "", most_bytes: int | None = None) -> Job:
        """Runs `diantu` with some arguments; its standard output is dropped.

        Args:
            arguments: the command line.
            watched_by: the address of a `faults.interception.Watch`, which then decides about its system calls.
            most_bytes: no file may become larger.
        """
        return self._started({"run": list(map(str, arguments)), "watched_by": watched_by, "most_bytes": most_bytes})

    def start_script(self, script: str) -> Job:
        """Runs lines of Python; what they print comes to standard error."""
        return self._started({"script": script})

    def preload(self, *names: str) -> None:
        """Imports classes such as `transformers.CLIPModel`, so that later commands find them imported."""
        self._asked({"preload": names})

    def close(self) -> None:
        self._process.communicate(timeout=PATIENCE_SECONDS)

    def _started(self, request: dict[str, object]) -> Job:
        files = self._folder / str(self._num_jobs)
        self._num_jobs += 1
        files.with_suffix(".err").touch()
        return Job(int(self._asked({**request, "files": str(files)})), files)

    def _asked(self, request: object) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


def install_histogram(folder: Path) -> None:
    """Makes a folder one of installed packages: `tests/histogram.py`, and the metadata that pip would write."""
    metadata = folder / "histogram-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: histogram\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[diantu.encoders]\nhistogram = histogram:FAMILY\n")
    shutil.copy(Path(__file__).parent / "histogram.py", folder)


def num_parts(gallery: Path) -> int:
    """Parts with a commit record."""
    return len(list((gallery / "parts").glob("*.json")))


def wait_for_parts(job: Job, gallery: Path, count: int) -> None:
    """Returns when an embedding job has begun and its gallery has that many parts, or when the job has ended."""

    def are_there() -> bool:
        return (gallery / "ledger.jsonl").exists() and num_parts(gallery) >= count

    wait_until(lambda: are_there() or job.poll() is not None, f"{count} parts")


@contextlib.contextmanager
def zygote() -> Iterator[Zygote]:
    with tempfile.TemporaryDirectory() as folder:
        serving = Zygote(Path(folder))
        try:
            yield serving
        finally:
            serving.close()


def _serve() -> None:
    import torch  # noqa: F401

    running: dict[int, Path] = {}

    def note_exit_codes(signum: int, frame: object) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                code = running.pop(ended[0]).with_suffix(".code")
                temporary = code.with_suffix(".tmp")
                temporary.write_text(str(os.waitstatus_to_exitcode(ended[1])))
                temporary.replace(code)

    signal.signal(signal.SIGCHLD, note_exit_codes)
    for line in sys.stdin:
        request = json.loads(line)
        for name in request.get("preload", ()):
            module, _, attribute = name.rpartition(".")
            getattr(importlib.import_module(module), attribute)
        answer = 0
        if "files" in request:
            files = Path(request["files"])
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])  # no command ends before it is in `running`
            answer = os.fork()
            if not answer:
                _become(request, files)
            running[answer] = files
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _become(request: dict[str, Any], files: Path) -> None:
    """The forked process: becomes the command or the script."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    nothing = os.open(os.devnull, os.O_RDWR)
    errors = os.open(files.with_suffix(".err"), os.O_WRONLY)
    for descriptor, target in ((nothing, 0), (errors if "script" in request else nothing, 1), (errors, 2)):
        os.dup2(descriptor, target)
    if "script" in request:
        exec(request["script"], {})
        sys.exit(0)
    if most_bytes := request["most_bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    if watched_by := request["watched_by"]:
        from faults.interception import install

        os.setpgid(0, 0)  # Ctrl-C and kills of a whole group must not reach the others
        install(watched_by)
    from diantu.scripts.main import main

    sys.argv[1:] = request["run"]
    main()


if __name__ == "__main__":
    _serve()
    os._exit(0)  # nothing to clean up, and freeing all modules takes seconds

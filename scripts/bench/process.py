"""An engine of `bench_index` in a process of its own, as `bench_index` sees it; `peers` is the other side."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...datasets.files import write_json
from .memory import peak_memory
from .peers.worker.job import Job

log = logging.getLogger(__name__)

_PEERS = Path(__file__).with_name("peers")
_MARKER = "built.json"
# One thread, whichever library starts them.
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
# The fields of the job that an engine's index depends on; the indexes of other engines depend on none.
_DEPENDS = {"diantu": ("target", "memory_budget", "factory"), "autofaiss": ("memory_budget",)}


class EngineProcess:
    """One engine: builds its index, opens it and times its searches, all in processes of an environment.

    Attributes:
        name: of the engine.
        facts: what its processes answered; `passes` are the timed passes, `failed` says why there are none.
    """

    def __init__(self, name: str, environment: Path, job: Job) -> None:
        self.name = name
        self.facts: dict[str, Any] = {"passes": []}
        self._python, self._job, self._folder = environment / "bin" / "python", job, Path(job.folder)
        self._process: subprocess.Popen[str] | None = None

    def forget(self) -> None:
        """Removes the index, so that it is built again."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def build(self) -> None:
        """Builds the index, unless there is one for the same request."""
        marker = self._folder / _MARKER
        request = {name: getattr(self._job, name) for name in _DEPENDS.get(self.name, ())}
        if marker.exists() and (built := json.loads(marker.read_text()))["request"] == request:
            self.facts |= built
            return
        self.forget()
        self._folder.mkdir(parents=True)
        log.info("%s: building", self.name)
        with self._worker("build", {}) as process, peak_memory(process.pid) as peak:
            facts = self._answer(process)
        built = {**facts, "request": request, "threads": self._job.threads, "build_peak_bytes": max(peak)}
        self.facts |= built
        if "failed" not in built:
            write_json(marker, built)

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Keeps the index open in a process while the block runs."""
        if "failed" in self.facts:
            yield
            return
        log.info("%s: opening", self.name)
        with self._worker("serve", _ONE_THREAD) as process:
            self._process = process
            self.facts |= self._answer(process)
            yield

    def timed(self, target: float) -> dict[str, Any]:
        """One timed pass at the smallest breadth that reaches a recall, or `failed`."""
        process = self._process
        if "failed" in self.facts or process is None or process.stdin is None:
            return {"failed": self.facts["failed"]}
        with contextlib.suppress(BrokenPipeError):  # the process has ended, which `_answer` reports
            process.stdin.write(f"{target}\n")
            process.stdin.flush()
        answer = self._answer(process)
        if "failed" in answer:
            self.facts |= answer
        return answer

    @contextlib.contextmanager
    def _worker(self, what: str, variables: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
        command = [str(self._python), "-I", str(_PEERS), what, self.name, self._job.to_json()]
        with (
            self._log(what).open("w") as errors,
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **variables},
            ) as process,
        ):
            try:
                yield process
            except BaseException:
                process.kill()
                raise
            # leaving the block closes its stdin, which ends it

    def _answer(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """The next answer of the process. A peer may fail, which the table will show; our own engine must not."""
        line = process.stdout.readline() if process.stdout else ""
        if line:
            return json.loads(line)
        code = process.wait()
        what = "serve" if process is self._process else "build"
        logs = [
            text for name in ("serve", "build") if self._log(name).exists() and (text := self._log(name).read_text())
        ]
        last = logs[0].strip().splitlines()[-1] if logs else ""
        failed = f"{what} ended with exit code {code}: {last[:200]} (see {self._folder})"
        if self.name == "diantu":
            raise RuntimeError(failed)
        return {"failed": failed}

    def _log(self, what: str) -> Path:
        return self._folder / f"{what}.log"

"""What a gallery's index costs and delivers, beside exact search and other libraries, in one run.

    python -m diantu.scripts.bench_index --output FOLDER --rows 1000000 [--peers ENVIRONMENT] [--autofaiss ENVIRONMENT]
    python -m diantu.scripts.bench_index --output FOLDER --vectors base.npy [--queries queries.npy]

The vectors are synthetic (`bench_vectors`) or given. One oracle, exact search computed once, judges all engines by one
recall@10 = |found ∩ exact| / 10, on queries that tuned nothing of ours; texts, where there are any. Every engine has a
process of its own (`bench.peers`): it builds with all processors, then opens its index and answers with one
thread, one query at a time and all in one call, at the least breadth that reaches the recall. All are opened first and
then timed in turn, `--repeats` times, so that a slow minute of the machine hits all of them; medians are printed. Ours
is timed as users get it, at the breadth that it was tuned to, and wider only if that misses the recall here.

Memory is what a process holds privately, without pages of files: its growth when an index is opened and asked once, and
the peak while one is built. What was built stays in the folder and is used again, so that timings can be repeated.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json as jsons
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..datasets import InputError
from ..datasets.files import write_json
from ..indexing.build.plan import check_recall, parse_bytes
from ..indexing.store.manifest import read_manifest
from ..indexing.store.vectors import Vectors
from .bench.table import print_engines, print_targets, target_lines
from .bench.vectors import SYNTHETIC, Bench, real, shares_found, synthetic
from .main import _run

log = logging.getLogger(__name__)

_WORKER = Path(__file__).with_name("bench") / "peers.py"
_PEERS = ("hnswlib", "usearch", "svs")
# The memory that our index and autofaiss's are allowed: 1 GB at a million rows.
_BUDGET_PER_ROW = 1000
_SAMPLING_SECONDS = 0.02
# One thread, whichever library makes them.
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
# What an index depends on, of all that is asked for; what others were built for does not matter.
_DEPENDS = {"diantu": ("target", "memory_budget", "factory"), "autofaiss": ("memory_budget",)}


def run(
    output: str,
    rows: int | None = None,
    vectors: str | None = None,
    queries: str | None = None,
    target_recall: float = 0.95,
    memory_budget: str | None = None,
    factory: str | None = None,
    peers: str | None = None,
    autofaiss: str | None = None,
    skip_exact: bool = False,
    rebuild: bool = False,
    calibration: bool = False,
    repeats: int = 3,
    json: bool = False,
    seed: int = 0,
) -> int:
    """Measures an index and prints what it reaches.

    Args:
        output: the folder that vectors, queries and indexes go to; what it has already is used again.
        rows: how many synthetic vectors, by default 1000000; or how many of --vectors at most.
        vectors: real vectors, an .npy file.
        queries: real queries for them, an .npy file; by default rows that are left out of the index.
        target_recall: the recall@10 that all are to reach.
        memory_budget: that of our index and of autofaiss's, as 1GB; by default 1000 bytes a row.
        factory: FAISS's factory string for our index; by default its own choice.
        peers: a virtual environment with hnswlib, usearch and scalable-vs.
        autofaiss: a virtual environment with autofaiss.
        skip_exact: do not time exact search, which needs 4 bytes a value in memory.
        rebuild: build our index anew; those of peers are kept.
        calibration: only check the synthetic vectors, see bench_vectors.
        repeats: timed passes of each; medians are printed.
        json: print JSON.
        seed: of the synthetic vectors.
    """
    bench = _bench(Path(output), rows, vectors, queries, seed)
    manifest = read_manifest(bench.gallery)
    num_rows = manifest.num_rows
    if calibration:
        _print_json({"rows": num_rows, **shares_found(bench, Vectors(bench.gallery, manifest))})
        return 0
    request = {
        "target": check_recall(target_recall),
        "memory_budget": parse_bytes(memory_budget) if memory_budget else num_rows * _BUDGET_PER_ROW,
        "factory": factory,
    }
    environments = {"diantu": sys.prefix}
    environments |= {} if skip_exact else {"exact": sys.prefix}
    environments |= {"autofaiss": autofaiss} if autofaiss else {}
    environments |= dict.fromkeys(_PEERS, peers) if peers else {}
    engines = [_Engine(name, Path(folder), bench, request) for name, folder in environments.items()]
    if rebuild:
        engines[0].forget()
    for engine in engines:
        engine.build()
    _measure(engines, request["target"], repeats)
    facts = {engine.name: engine.facts for engine in engines}
    if json:
        _print_json({"machine": _machine(), "source": bench.source, "rows": num_rows, **request, "engines": facts})
        return 0
    print(f"{num_rows} vectors ({bench.source}), {bench.kinds[0]} queries, recall@10 ≥ {target_recall}; {_machine()}\n")
    others = {name: theirs for name, theirs in facts.items() if name != "diantu"}
    is_real = bench.source != SYNTHETIC
    print_targets(target_lines(facts["diantu"], others, num_rows=num_rows, target=target_recall, real=is_real))
    print()
    print_engines(facts, num_rows)
    return 0


class _Engine:
    """An engine's processes, and what they answered: `facts`, with `failed` where it could not be measured."""

    def __init__(self, name: str, environment: Path, bench: Bench, request: Mapping[str, Any]) -> None:
        manifest = read_manifest(bench.gallery)
        asked = {kind: (str(bench.queries(kind)), str(bench.exact(kind))) for kind in bench.kinds}
        self.name = name
        self.facts: dict[str, Any] = {"passes": []}
        self._python, self._folder = environment / "bin" / "python", bench.folder / "engines" / name
        self._process: subprocess.Popen[str] | None = None
        self._job = {
            **request,
            "gallery": str(bench.gallery),
            "vectors": str(bench.gallery / "img_emb"),
            "num_rows": manifest.num_rows,
            "dim": manifest.spec.dim,
            "kinds": asked,
            "kind": bench.kinds[0],  # which is timed
            "tuning": str(bench.tuning) if bench.tuning else None,
            "folder": str(self._folder),
            "threads": len(os.sched_getaffinity(0)),
        }

    def forget(self) -> None:
        """Has the index built anew."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def build(self) -> None:
        """Builds the index, unless that was done for the same request."""
        marker = self._folder / "built.json"
        request = {name: self._job[name] for name in _DEPENDS.get(self.name, ())}
        if marker.exists() and (built := jsons.loads(marker.read_text()))["request"] == request:
            self.facts |= built
            return
        self.forget()
        self._folder.mkdir(parents=True)
        log.info("%s builds", self.name)
        with self._worker("build", {}) as process, _peak_memory(process.pid) as peak:
            facts = self._answer(process)
        built = {**facts, "request": request, "threads": self._job["threads"], "build_peak_bytes": max(peak)}
        self.facts |= built
        if "failed" not in built:
            write_json(marker, built)

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Has the index open in its process."""
        if "failed" in self.facts:
            yield
            return
        log.info("%s opens", self.name)
        with self._worker("serve", _ONE_THREAD) as process:
            self._process = process
            self.facts |= self._answer(process)
            yield

    def timed(self, target: float) -> dict[str, Any]:
        """One timed pass at the least breadth that reaches a recall, or `failed`."""
        process = self._process
        if "failed" in self.facts or process is None or process.stdin is None:
            return {"failed": self.facts["failed"]}
        with contextlib.suppress(BrokenPipeError):  # its answer will say that it has ended
            process.stdin.write(f"{target}\n")
            process.stdin.flush()
        answer = self._answer(process)
        if "failed" in answer:
            self.facts |= answer
        return answer

    @contextlib.contextmanager
    def _worker(self, what: str, variables: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
        command = [str(self._python), "-I", str(_WORKER), what, self.name, jsons.dumps(self._job)]
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
            # leaving closes its stdin, which ends it

    def _answer(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """The next answer of the worker. A peer may fail, which is said in the table; we may not."""
        line = process.stdout.readline() if process.stdout else ""
        if line:
            return jsons.loads(line)
        code = process.wait()
        what = "serve" if process is self._process else "build"
        said = [
            text for name in ("serve", "build") if self._log(name).exists() and (text := self._log(name).read_text())
        ]
        last = said[0].strip().splitlines()[-1] if said else ""
        failed = f"it ended with {code} in {what}: {last[:200]} (see {self._folder})"
        if self.name == "diantu":
            raise RuntimeError(failed)
        return {"failed": failed}

    def _log(self, what: str) -> Path:
        return self._folder / f"{what}.log"


@contextlib.contextmanager
def _peak_memory(pid: int) -> Iterator[list[int]]:
    """Samples the private memory of a process while the block runs: a list of one number of bytes, the peak."""
    peak, over = [0], threading.Event()

    def sample() -> None:
        while not over.wait(_SAMPLING_SECONDS):
            with contextlib.suppress(OSError, IndexError):  # it has ended
                status = Path(f"/proc/{pid}/status").read_text()
                peak[0] = max(peak[0], 1024 * int(status.partition("RssAnon:")[2].split()[0]))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def _bench(folder: Path, rows: int | None, vectors: str | None, queries: str | None, seed: int) -> Bench:
    if vectors:
        return real(folder, Path(vectors), Path(queries) if queries else None, rows, seed=seed)
    if queries:
        raise InputError("--queries belong to real vectors; give those with --vectors")
    return synthetic(folder, rows or 1_000_000, seed=seed)


def _measure(engines: Sequence[_Engine], target: float, repeats: int) -> None:
    """Opens all, then times them in turn; ours also at the recall of those that do not reach the target."""
    ours = engines[0]
    with contextlib.ExitStack() as stack:
        for engine in engines:
            stack.enter_context(engine.serving())
        for number in range(repeats):
            for engine in engines:
                log.info("%s answers, pass %d of %d", engine.name, number + 1, repeats)
                passed = engine.timed(target)
                if "failed" in passed:
                    continue
                engine.facts["passes"].append(passed)
                if passed["recall"] < target and engine is not ours:
                    equal = ours.timed(passed["recall"])
                    engine.facts.setdefault("ours_at_its_recall", []).append(equal["qps"])


def _machine() -> str:
    model = Path("/proc/cpuinfo").read_text().partition("model name")[2].partition("\n")[0].strip(" \t:")
    names = {found.name for found in importlib.metadata.distributions()} & {"faiss-gpu", "faiss-cpu"}
    faiss = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(names))
    processors, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return f"{model}, {processors} processors, {faiss}, load {load:.1f}, {time.strftime('%Y-%m-%d %H:%M')}"


def _print_json(value: object) -> None:
    print(jsons.dumps(value, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(_run("bench_index", sys.argv[1:]))

"""The protocol between `bench_index` and an engine's process.

Answers are lines of JSON on stdout; whatever libraries print goes to stderr. `build` answers once, with facts about the
index. `serve` opens the index and answers with its memory; then it reads target recalls from stdin, one per line, and
answers each with one timed pass at the smallest breadth that reaches it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import IO, Any

from .engine import Engine
from .faiss_indexes import Autofaiss, Exact
from .graphs import Hnswlib, Svs, Usearch
from .job import Job
from .measuring import least_breadth, timed_pass
from .ours import Diantu

ENGINES: dict[str, type[Engine]] = {
    "diantu": Diantu,
    "exact": Exact,
    "autofaiss": Autofaiss,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
    "svs": Svs,
}


def main(what: str, engine: str, job: str) -> None:
    """Runs `build` or `serve` for an engine and a job in JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    {"build": build, "serve": serve}[what](ENGINES[engine](), Job.from_json(job), answers)


def build(engine: Engine, job: Job, answers: IO[str]) -> None:
    """Builds the index, and answers with facts and seconds; importing the libraries does not count."""
    engine.load_modules()
    started = time.perf_counter()
    facts = engine.build(job)
    _answer(answers, {**facts, "build_seconds": round(time.perf_counter() - started, 1)})


def serve(engine: Engine, job: Job, answers: IO[str]) -> None:
    """Opens the index, searches once and answers with the memory; then times a pass for each target recall."""
    engine.load_modules()
    queries_QD, exact_QK = job.timed_queries()
    gc.collect()
    before, started = _private_bytes(), time.perf_counter()
    engine.open(job)
    opened = time.perf_counter() - started
    engine.set_breadth(engine.limits(job.target)[0])
    engine.search(queries_QD[:1])  # loads what the engine reads only when it is first needed
    answered = time.perf_counter() - started
    gc.collect()
    memory = {"open_bytes": _private_bytes() - before}
    seconds = {"open_seconds": round(opened, 3), "first_answer_seconds": round(answered, 3)}
    _answer(answers, {**memory, **seconds, **engine.extra(job)})
    found: dict[float, tuple[int, float]] = {}
    for line in sys.stdin:
        target = float(line)
        if target not in found:
            found[target] = least_breadth(engine, queries_QD, exact_QK, target)
        breadth, reached = found[target]
        engine.set_breadth(breadth)
        chosen = {"breadth": f"{engine.breadth} {breadth}" if engine.breadth else "", "recall": round(reached, 4)}
        _answer(answers, {**chosen, **timed_pass(engine, queries_QD), "used_bytes": _private_bytes() - before})


def _private_bytes() -> int:
    """Memory of this process without pages of files, which the system can drop at any time."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return sum(1024 * int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem", "HugetlbPages"))


def _answer(answers: IO[str], facts: dict[str, Any]) -> None:
    print(json.dumps(facts), file=answers, flush=True)

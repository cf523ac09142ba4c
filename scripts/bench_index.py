"""Cost and recall of a gallery's index, compared with exact search and with other libraries in the same run.

    python -m diantu.scripts.bench_index --output FOLDER --rows 1000000 [--peers ENVIRONMENT] [--autofaiss ENVIRONMENT]
    python -m diantu.scripts.bench_index --output FOLDER --vectors base.npy [--queries queries.npy]

The vectors are synthetic (see `bench.generator`) or come from a file. One oracle, exact search computed once, judges
all engines by recall@10 = |found ∩ exact| / 10, on queries that tuned nothing of ours; these are texts if there are
any. Every engine runs in a process of its own (`bench.process`, `bench.peers`): it builds with all CPU cores, then
opens its index and searches with one thread, one query at a time and all in one call, at the smallest breadth that
reaches the target recall. All engines are opened first and then timed in turn, `--repeats` times, so that a slow minute
of the machine affects all of them; medians are printed. Our index is timed as users get it, at the breadth that it was
tuned to, and at more only if that misses the target here.

Memory is the private memory of a process, without pages of files: its growth when an index is opened and searched once,
and the peak during a build. Indexes stay in the folder and are used again, so that timings can be repeated.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..datasets.errors import InputError
from ..indexing.build.plan import check_recall, parse_bytes
from ..indexing.store.snapshot import Snapshot
from ..indexing.store.vectors import Vectors
from .bench.calibration import shares_found
from .bench.peers.worker.job import Job
from .bench.process import EngineProcess
from .bench.table import print_engines, print_targets, target_lines
from .bench.vectors import SYNTHETIC, Bench, real, synthetic
from .commands.common import print_json
from .main import call

log = logging.getLogger(__name__)

_PEERS = ("hnswlib", "usearch", "svs")
# The memory that our index and autofaiss's are allowed: 1 GB for a million rows.
_BUDGET_PER_ROW = 1000


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
    json_: bool = False,
    seed: int = 0,
) -> int:
    """Measures an index and prints what it reaches.

    Args:
        output: the folder for vectors, queries and indexes; what is in it already is used again.
        rows: number of synthetic vectors, by default 1000000; or the most rows to use of --vectors.
        vectors: real vectors, an .npy file.
        queries: real queries for these vectors, an .npy file; by default some rows, which the index does not get.
        target_recall: the recall@10 that every engine must reach.
        memory_budget: how much memory our index and that of autofaiss may take, for example 1GB; by default 1000 bytes
            per row.
        factory: the FAISS factory string of our index; by default its own choice.
        peers: a virtual environment with hnswlib, usearch and scalable-vs.
        autofaiss: a virtual environment with autofaiss.
        skip_exact: do not time exact search, which needs 4 bytes of memory per value.
        rebuild: rebuild our index; those of peers are kept.
        calibration: only measure the synthetic vectors (see bench.generator).
        repeats: number of timed passes of each engine; medians are printed.
        json_: print the results as JSON on stdout.
        seed: the seed of the synthetic vectors.
    """
    bench = _bench(Path(output), rows, vectors, queries, seed)
    snapshot = Snapshot.read(bench.gallery)
    num_rows = snapshot.num_rows
    if calibration:
        print_json({"rows": num_rows, **shares_found(bench, Vectors(snapshot))})
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
    engines = [EngineProcess(name, Path(folder), _job(name, bench, request)) for name, folder in environments.items()]
    if rebuild:
        engines[0].forget()
    for engine in engines:
        engine.build()
    _measure(engines, request["target"], repeats)
    facts = {engine.name: engine.facts for engine in engines}
    if json_:
        print_json({"machine": _machine(), "source": bench.source, "rows": num_rows, **request, "engines": facts})
        return 0
    print(f"{num_rows} vectors ({bench.source}), {bench.kinds[0]} queries, recall@10 ≥ {target_recall}; {_machine()}\n")
    others = {name: theirs for name, theirs in facts.items() if name != "diantu"}
    is_real = bench.source != SYNTHETIC
    print_targets(target_lines(facts["diantu"], others, num_rows=num_rows, target=target_recall, real=is_real))
    print()
    print_engines(facts, num_rows)
    return 0


def _job(engine: str, bench: Bench, request: Mapping[str, Any]) -> Job:
    snapshot = Snapshot.read(bench.gallery)
    return Job(
        gallery=str(bench.gallery),
        vectors=str(bench.gallery / "img_emb"),
        num_rows=snapshot.num_rows,
        dim=snapshot.spec.dim,
        kinds={kind: (str(bench.queries(kind)), str(bench.exact(kind))) for kind in bench.kinds},
        kind=bench.kinds[0],
        tuning=str(bench.tuning) if bench.tuning else None,
        folder=str(bench.folder / "engines" / engine),
        threads=len(os.sched_getaffinity(0)),
        **request,
    )


def _bench(folder: Path, rows: int | None, vectors: str | None, queries: str | None, seed: int) -> Bench:
    if vectors:
        return real(folder, Path(vectors), Path(queries) if queries else None, rows, seed=seed)
    if queries:
        raise InputError("--queries needs real vectors; give them with --vectors")
    return synthetic(folder, rows or 1_000_000, seed=seed)


def _measure(engines: Sequence[EngineProcess], target: float, repeats: int) -> None:
    """Opens all engines, then times them in turn; ours also at the recall of those that miss the target."""
    ours = engines[0]
    with contextlib.ExitStack() as stack:
        for engine in engines:
            stack.enter_context(engine.serving())
        for number in range(repeats):
            for engine in engines:
                log.info("%s: pass %d of %d", engine.name, number + 1, repeats)
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
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return f"{model}, {cores} CPU cores, {faiss}, load {load:.1f}, {time.strftime('%Y-%m-%d %H:%M')}"


if __name__ == "__main__":
    sys.exit(call(run, "python -m diantu.scripts.bench_index", sys.argv[1:]))

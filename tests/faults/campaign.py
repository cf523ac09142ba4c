"""Kills and failing system calls at random over every command.

Each round runs one command in a fresh copy of its input. Somewhere on the way the command is killed or stopped, or a
system call that concerns its files fails, as on a full, read-only or broken disk. It must then say what happened in one
sentence, and the same command, run again, must end as if nothing had happened: with the same bytes.

`python tests/faults/campaign.py --rounds 500` runs 500 rounds; a round's number is its seed, so `--first 17 --rounds 1`
repeats the round 17. The tests run a few.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before libraries read it
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from faults.interception import CHANGES, Fault, watched, why_not
from faults.scenarios import SCENARIOS, WORK, Scenario, contents
from zygote import Job, Zygote, zygote

# Which errors a call may end with.
_ERRORS = {
    "write": (errno.ENOSPC, errno.EIO, errno.EINTR, errno.EDQUOT), "pwrite64": (errno.ENOSPC, errno.EIO),
    "writev": (errno.ENOSPC, errno.EIO), "create": (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EMFILE),
    "open": (errno.EACCES, errno.EIO, errno.EMFILE, errno.ESTALE), "read": (errno.EIO, errno.EINTR),
    "pread64": (errno.EIO,), "readv": (errno.EIO,), "stat": (errno.EIO, errno.EACCES), "mmap": (errno.ENOMEM,),
    "fsync": (errno.EIO, errno.ENOSPC), "fdatasync": (errno.EIO,), "ftruncate": (errno.EIO,),
    "rename": (errno.EIO, errno.EACCES, errno.ENOSPC), "mkdir": (errno.ENOSPC, errno.EACCES), "rmdir": (errno.EACCES,),
    "link": (errno.EPERM, errno.EXDEV, errno.ENOSPC), "symlink": (errno.EPERM,), "unlink": (errno.EACCES, errno.EIO),
    "getdents64": (errno.EIO,), "flock": (errno.ENOLCK,), "close": (errno.EIO,), "sendfile": (errno.EIO,),
    "copy_file_range": (errno.EIO,), "fallocate": (errno.ENOSPC,),
}  # fmt: skip
# A disk that is full or read-only stays so until somebody does something about it.
_LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}
_FORBIDDEN = ("Traceback", "this is a bug", "should not happen", "Exception ignored", "terminate called")


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What happened in one round.

    Attributes:
        number: of the round.
        scenario: its name.
        what: the fault and the call that it met.
        code: the exit code of the disturbed command.
        stderr: what it said.
        problem: what is wrong; None if nothing is.
    """

    number: int
    scenario: str
    what: str
    code: int
    stderr: str
    problem: str | None

    def __str__(self) -> str:
        said = " | ".join(line for line in re.split(r"[\r\n]+", self.stderr) if line)[-600:]
        return f"round {self.number} ({self.scenario}): {self.what}; exit code {self.code}: {self.problem}\n    {said}"


class Campaign:
    """Runs rounds below a folder; each scenario is prepared and run undisturbed the first time that it is needed."""

    def __init__(self, folder: Path, jobs: Zygote, only: tuple[str, ...] = ()) -> None:
        self._folder = folder
        self._jobs = jobs
        names = only or tuple(scenario.name for scenario in SCENARIOS if scenario.weight)
        self._prepared = [_Prepared(folder, jobs, scenario) for scenario in SCENARIOS if scenario.name in names]

    def round(self, number: int) -> Round:
        """Runs one round; its number is the seed of all its choices."""
        rng = random.Random(number)
        weights = [prepared.scenario.weight or 1.0 for prepared in self._prepared]
        prepared = rng.choices(self._prepared, weights)[0]
        fault, pause = _chosen(rng, prepared)
        prepared.restore()
        job, struck = prepared.disturbed(fault, pause)
        what = f"{fault or f'SIGKILL after {pause:.2f} s'} → {struck or 'nothing'}"
        problem = self._judged(prepared, fault, job, struck)
        return Round(
            number=number, scenario=prepared.scenario.name, what=what, code=job.wait(), stderr=job.stderr(),
            problem=problem,
        )  # fmt: skip

    def _judged(self, prepared: _Prepared, fault: Fault | None, job: Job, struck: str | None) -> str | None:
        code, stderr = job.wait(), job.stderr()
        own = "" if prepared.scenario.has_foreign_output else stderr
        if bad := next((text for text in _FORBIDDEN if text in own), None):
            return f"stderr has {bad!r}"
        if code == -signal.SIGKILL and (fault is None or fault.effect == "kill"):
            pass
        elif code == -signal.SIGTERM and fault and fault.effect == "terminate":
            pass  # before the command could begin
        elif code in _STOPPED.values() and fault and fault.effect == "terminate":
            if code != 143 or "diantu: stopped" not in stderr:
                return "stopped without a sentence, or with another code than 143"
        elif code not in (0, 1, 2):
            return "this exit code is not documented"
        elif code:
            said = [line for line in re.split(r"[\r\n]+", stderr) if line.startswith("diantu: ")]
            reason = os.strerror(fault.error) if fault and fault.error else ""
            if len(said) > 1 or not (said or prepared.scenario.may_fail_without_sentence(stderr)):
                return f"{len(said)} sentences instead of one"
            if said and reason not in stderr:
                return f"the reason ({reason}) is not named"
            if reason and code == 2:
                return "an error of the system is not bad usage"
        elif problem := prepared.differs(struck):
            return f"it ended with 0, and {problem}"
        if code:
            again = prepared.run()
            if again.wait() != prepared.code:
                return f"the second run ended with {again.wait()}: {again.stderr()[-600:]}"
            if problem := prepared.differs(struck):
                return f"after the second run {problem}"
        return None


class _Prepared:
    """A scenario with its input, and what an undisturbed run makes of it."""

    def __init__(self, folder: Path, jobs: Zygote, scenario: Scenario) -> None:
        self.scenario = scenario
        self._work = folder / WORK  # always the same path, because galleries name their shards
        self._input = folder / "inputs" / scenario.name
        self._address = folder / "watch"
        self._jobs = jobs
        self.seconds = 0.0
        self.code = 0

    @cached_property
    def counts(self) -> Counter[str]:
        """The calls of an undisturbed run by kind."""
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir()
        self.scenario.prepare(self._work)
        shutil.copytree(self._work, self._input, symlinks=True)
        self.restore()
        started = time.perf_counter()
        with watched(self._work, self._address) as watch:
            job = self._jobs.start(*self.scenario.arguments(self._work), watched_by=watch.address)
        self.seconds = time.perf_counter() - started
        self.code = job.wait()
        assert self.code == self.scenario.code, job.stderr()
        self.whole = contents(self._work)
        return watch.counts

    def restore(self) -> None:
        """Puts the input in its place again."""
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self._input, self._work, symlinks=True)

    def run(self) -> Job:
        job = self._jobs.start(*self.scenario.arguments(self._work))
        job.wait()
        return job

    def disturbed(self, fault: Fault | None, pause: float) -> tuple[Job, str | None]:
        """Runs the command with a fault, or kills it after a pause; returns the call that the fault met."""
        with watched(self._work, self._address, fault) as watch:
            job = self._jobs.start(*self.scenario.arguments(self._work), watched_by=watch.address)
            if fault is None:
                time.sleep(pause)
                job.send_signal(signal.SIGKILL)
                watch.send_signal(signal.SIGKILL)
            job.wait()
        return job, watch.struck

    def differs(self, struck: str | None) -> str | None:
        """How the files differ from those of an undisturbed run; None if they do not."""
        found = contents(self._work)
        if struck and self.scenario.is_source(struck):
            return None  # what cannot be read of a source is listed, and does not come in
        names = [name for name in {**self.whole, **found} if self.whole.get(name) != found.get(name)]
        if not names:
            return None
        where = _first_difference(self.whole.get(names[0]), found.get(names[0]))
        return f"{len(names)} files differ: {', '.join(names[:5])}; {where}"


def _first_difference(whole: Any, found: Any) -> str:
    """Around the first byte that differs, what was expected and what is there."""
    if whole is None or found is None:
        return "there is one too many" if whole is None else "it is missing"
    one, other = (value if isinstance(value, bytes) else repr(value).encode() for value in (whole, found))
    place = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    around = slice(max(place - 30, 0), place + 50)
    return f"{one[around]!r} became {other[around]!r}"


def _chosen(rng: random.Random, prepared: _Prepared) -> tuple[Fault | None, float]:
    """A fault; None and after how many seconds to kill the process instead."""
    counts = {call: count for call, count in prepared.counts.items() if call in _ERRORS}
    draw = rng.random()
    if draw < 0.08:
        return None, rng.uniform(0, prepared.seconds)
    # Calls that change something are the rare and interesting ones.
    call = rng.choice([name for name in counts if name in CHANGES or rng.random() < 0.4] or list(counts))
    nth = rng.randrange(counts[call])
    if draw < 0.38:
        return Fault(calls=frozenset({call}), nth=nth, effect="kill"), 0
    if draw < 0.46:
        return Fault(calls=frozenset({call}), nth=nth, effect="terminate"), 0
    if draw < 0.54 and "write" in counts:
        return Fault(calls=frozenset({"write"}), nth=rng.randrange(counts["write"]), effect="short"), 0
    error = rng.choice(_ERRORS[call])
    if error in _LASTING and rng.random() < 0.7:
        total = sum(count for name, count in counts.items() if name in CHANGES)
        return Fault(calls=CHANGES, nth=rng.randrange(total), effect="fail", error=error, lasts=True), 0
    return Fault(calls=frozenset({call}), nth=nth, effect="fail", error=error), 0


def run(rounds: range, folder: Path, jobs: Zygote, only: tuple[str, ...] = ()) -> Iterator[Round]:
    """Runs rounds below a folder."""
    campaign = Campaign(folder, jobs, only)
    for number in rounds:
        yield campaign.round(number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="scenarios: " + ", ".join(it.name for it in SCENARIOS))
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    if reason := why_not():
        sys.exit(reason)
    codes: Counter[tuple[str, int]] = Counter()
    problems = 0
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, zygote() as jobs:
        preload(jobs, models=True)
        for done in run(range(given.first, given.first + given.rounds), Path(folder), jobs, tuple(given.only)):
            codes[done.scenario, done.code] += 1
            problems += done.problem is not None
            if done.problem or given.verbose or not done.number % 25:
                sys.stdout.write(f"{done}\n")
                sys.stdout.flush()
    counts = ", ".join(f"{name} {code}: {count}" for (name, code), count in sorted(codes.items()))
    minutes = (time.perf_counter() - started) / 60
    sys.stdout.write(f"exit codes {counts}\n{given.rounds} rounds in {minutes:.1f} minutes, {problems} problems\n")
    sys.exit(bool(problems))


def preload(jobs: Zygote, *, models: bool) -> None:
    """Imports what most commands need, once; `models` adds what those need that embed."""
    ours = (
        "indexing.embed.job.embed", "indexing.build.job.build_index", "search.Gallery", "generation.generate",
        "generation.strategies.poster.overlay.Overlay", "indexing.upkeep.compaction.compact",
        "indexing.upkeep.dedup.np", "indexing.upkeep.importing.np", "indexing.measure.evaluate.evaluate",
        "search.sheets.sheet.write_sheet",
    )  # fmt: skip
    classes = ("CLIPModel", "AutoConfig", "AutoImageProcessor", "AutoTokenizer", "CLIPImageProcessor", "Dinov2Model")
    others = ("duckdb.connect", "pandas.DataFrame", "pyarrow.acero.Declaration", "jsonargparse.CLI")
    jobs.preload(
        *(f"diantu.{name}" for name in ours),
        *(f"transformers.{name}" for name in classes if models),
        *others,
        "docstring_parser.parse",
    )


if __name__ == "__main__":
    main()

"""Conditions that take long or grow large, within their time and memory.

The campaign: DIANTU_FUZZ_ROUNDS=300 python -m pytest -n 0 -s tests/datasets/conditions/test_budget.py -k heavy
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from fuzzing import rounds
from heavy_conditions import heavy_condition

from diantu.datasets import InputError
from diantu.datasets.conditions import Budget, chosen_rows, locked_duckdb, understood
from diantu.datasets.conditions.children import children
from diantu.datasets.conditions.evaluation import Missing

IS_CAMPAIGN = "DIANTU_FUZZ_ROUNDS" in os.environ
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits private memory")


@pytest.fixture(scope="module", autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    children.end()


def rows_table(num_rows: int) -> pa.Table:
    """Captions of one letter, which is the worst for patterns and comparisons."""
    captions = ["a" * (20 + row % 180) + ("b" if row % 3 else "") for row in range(num_rows)]
    keys = [str(row) for row in range(num_rows)]
    return pa.table({"key": keys, "caption": captions, "width": np.arange(num_rows)})


def chosen(where: str, table: pa.Table, *, seconds: float = 5.0, missing: Missing = "exclude") -> np.ndarray:
    with locked_duckdb() as connection:
        budget = Budget(seconds)
        condition = understood(connection, where, table.column_names, owner="the rows", budget=budget)
        return chosen_rows(connection, condition, table, missing, budget)


def is_cheap(where: str) -> bool:
    with locked_duckdb() as connection:
        return understood(connection, where, ["key", "caption", "width", "punsafe"], owner="the rows").is_cheap


def _outcome(sentence: str) -> str:
    assert sentence.startswith("the condition ")
    assert len(sentence) < 1_000
    assert sentence.isprintable()
    return next((words for words in ("longer than", "more than 1 GB") if words in sentence), "refused")


class _Watch:
    """The most resident memory of this process, above what it had, and of its children, in MB."""

    def __init__(self) -> None:
        self._before = self.own = _resident(os.getpid(), "VmRSS")
        self.child = 0.0
        self._command = Path("/proc/self/cmdline").read_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._stop.wait(0.01):
            self.own = max(self.own, _resident(os.getpid(), "VmRSS"))
            for task in Path("/proc/self/task").iterdir():
                with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
                    for pid in (task / "children").read_text().split():
                        if Path(f"/proc/{pid}/cmdline").read_bytes() == self._command:
                            continue  # it was forked, and is about to become another program
                        self.child = max(self.child, _resident(int(pid), "VmHWM"))

    @contextmanager
    def watching(self) -> Iterator[_Watch]:
        self._thread.start()
        yield self
        self._stop.set()
        self._thread.join()
        self.own -= self._before


def _resident(pid: int, name: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith(name)), 0.0)


@pytest.mark.fuzz
@LINUX
def test_no_heavy_condition_exceeds_its_time_or_memory() -> None:
    table = rows_table(100_000 if IS_CAMPAIGN else 10_000)
    seconds = 2.0 if IS_CAMPAIGN else 0.3
    took, outcomes, most_own, most_child = [], Counter[str](), 0.0, 0.0
    with locked_duckdb() as connection:
        for seed in range(rounds(8)):
            where = heavy_condition(Random(seed))
            started = time.monotonic()
            with _Watch().watching() as watch:
                outcome = "answered"
                try:
                    budget = Budget(seconds)
                    condition = understood(connection, where, table.column_names, owner="the rows", budget=budget)
                    assert len(chosen_rows(connection, condition, table, "exclude", budget)) == len(table)
                except InputError as error:
                    outcome = _outcome(str(error))
            took.append(time.monotonic() - started)
            outcomes[outcome] += 1
            most_own, most_child = max(most_own, watch.own), max(most_child, watch.child)
            # In the suite, the machine is busy with other tests.
            assert took[-1] <= seconds + (1 if IS_CAMPAIGN else 30), (seed, took[-1], where[:300])
            assert watch.own < 1_000, (seed, watch.own, where[:300])
            assert watch.child < 1_000, (seed, watch.child, where[:300])
    print(  # noqa: T201
        f"\n{len(took)} conditions, {dict(outcomes)}; budget {seconds} s, at most {max(took):.2f} s; "
        f"memory: this process +{most_own:.0f} MB, children {most_child:.0f} MB"
    )


@pytest.mark.parametrize(
    "where",
    [
        "width >= 512 AND punsafe < 0.1", "NOT (key = 'a' OR caption IS NULL)", "key IN ('a', 'b')", "true",
        "caption LIKE '%sun%set%'", "caption ILIKE '%sunset%'", "caption NOT LIKE 'a_b'", "width BETWEEN 1 AND 2",
        "width * 2 + 1 > 7 / 2", "lower(caption) = 'x'", "contains(caption, 'cat')", "width::DOUBLE > 1.5",
        "coalesce(nullif(TRY_CAST(punsafe AS DOUBLE), 'nan'::DOUBLE), 0) <= 0.5", "length(caption) > 20",
        "CASE WHEN width > 1 THEN true ELSE false END", "width IN (" + ", ".join(map(str, range(300))) + ")",
    ],
)  # fmt: skip
def test_common_conditions_need_no_process(where: str) -> None:
    assert is_cheap(where)


@pytest.mark.parametrize(
    "where",
    [
        "regexp_matches(caption, 'a')", "caption || caption = 'a'", "caption LIKE key", "contains(caption, key)",
        "caption LIKE '%a_%b_%c'", "caption ILIKE '%a%b'", "levenshtein(caption, key) < 3",
        "replace(caption, 'a', key) = ''",
        "[x FOR x IN [1]] = [1]", "caption COLLATE NOCASE = 'a'", "width::VARCHAR::BLOB = 'a'", "hex(caption) = 'a'",
        "lower(" * 9 + "caption" + ")" * 9 + " = 'a'", "width IN (" + ", ".join(map(str, range(450))) + ")",
        "strftime(today(), 'a') = 'a'", "caption[1] = 'a'", "caption LIKE 'a' ESCAPE 'b'",
    ],
)  # fmt: skip
def test_others_are_evaluated_in_a_process(where: str) -> None:
    assert not is_cheap(where)


@pytest.mark.parametrize("missing", ["exclude", "include"])
def test_a_process_finds_the_same_rows(missing: Missing) -> None:
    table = pa.table({"text": ["大熊猫", None, "a\nb", ""] * 40_000, "number": [1, 2, None, 4] * 40_000})
    for here, apart in (
        ("text = 'a\nb'", "regexp_full_match(text, 'a\nb')"),
        ("NOT (text = '大熊猫' AND number > 0)", "NOT (levenshtein(text, '大熊猫') = 0 AND number > 0)"),
        ("number > 1", "text || 'x' IS NULL OR [number][1] > 1"),
    ):
        with locked_duckdb() as connection:
            cheap = [
                understood(connection, where, ["text", "number"], owner="rows").is_cheap for where in (here, apart)
            ]
        assert cheap == [True, False]
        expected = chosen(here, table, missing=missing)
        if "IS NULL" in apart and missing == "exclude":
            expected = expected | np.asarray(table["text"].is_null())
        np.testing.assert_array_equal(chosen(apart, table, missing=missing, seconds=60), expected)


def test_a_process_is_kept_and_replaced_when_it_is_gone() -> None:
    table = rows_table(3)
    assert chosen("regexp_matches(caption, 'b')", table).tolist() == [False, True, True]
    (first,) = children._idle
    assert first.is_alive
    assert chosen("hex(key) = '31'", table).tolist() == [False, True, False]
    with pytest.raises(InputError, match="Could not convert"):
        chosen("(caption || 'x')::INT = 1", table)
    assert children._idle == [first]
    first._process.kill()
    first._process.wait()
    assert chosen("hex(key) = '31'", table).tolist() == [False, True, False]
    assert children._idle != [first]


def test_an_evaluation_that_takes_too_long_is_stopped() -> None:
    endless = " + ".join(["levenshtein(caption, caption)"] * 90) + " > 0"
    with pytest.raises(InputError) as stopped:
        chosen(endless, rows_table(200_000), seconds=0.2)
    assert "takes longer than 0.2 s, its budget for a million rows; simplify it, or allow more" in str(stopped.value)
    assert "--where-timeout (in Python: where_timeout)" in str(stopped.value)


@LINUX
def test_an_evaluation_that_grows_too_large_is_stopped() -> None:
    grown = "caption"
    for _ in range(12):
        grown = f"replace({grown}, 'a', caption)"
    with pytest.raises(InputError, match="needs more than 1 GB of memory, which is the limit; simplify it"):
        chosen(f"length({grown}) > 1", rows_table(5_000), seconds=60)


@LINUX
def test_a_text_that_is_hard_to_parse_is_stopped() -> None:
    with pytest.raises(InputError, match=r"takes longer than|needs more than 1 GB|not understood"):
        chosen("(" * 19_000, rows_table(1), seconds=0.5)


def test_threads_evaluate_at_the_same_time() -> None:
    table = rows_table(50)
    wheres = [f"hex(key) = hex('{row}')" for row in range(20)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda where: np.flatnonzero(chosen(where, table, seconds=60)).tolist(), wheres))
    assert found == [[row] for row in range(20)]
    assert len(children._idle) <= 1


@LINUX
def test_no_process_is_left_behind() -> None:
    """Neither by a program that ends, nor by one that is killed."""
    program = (
        "import os, signal, sys, pyarrow as pa\n"
        "from diantu.datasets.conditions import *\n"
        "connection = locked_duckdb()\n"
        "condition = understood(connection, \"hex(key) = '61'\", ['key'], owner='rows')\n"
        "assert chosen_rows(connection, condition, pa.table({'key': ['a']}), 'exclude', Budget()).all()\n"
        "from diantu.datasets.conditions.children import children\n"
        "print(children._idle[0]._process.pid, flush=True)\n"
        "if sys.argv[1] == 'kill': os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for how in ("end", "kill"):
        done = subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, check=False)
        pid = int(done.stdout)
        deadline = time.monotonic() + 60
        while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_timeout_is_a_number_of_seconds(seconds: float) -> None:
    with pytest.raises(InputError, match="give seconds, more than 0"):
        Budget(seconds)


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("1=1; DROP TABLE rows", "syntax error|more than one statement"),
        ("true; SELECT 1", "more than one statement"),
        ("true \x00 OR false", "a NUL character"),
        ("key = '\ud800'", r"'\\ud800', which is half a character"),
        ("; ;", "syntax error"),
        ("'", "unterminated"),
        ("true /* and", "unterminated|syntax error"),
    ],
)
def test_more_or_less_than_a_condition_is_refused_in_a_sentence(where: str, reason: str) -> None:
    with pytest.raises(InputError, match=f"is not understood as one SQL condition over the columns: .*({reason})"):
        chosen(where, rows_table(1))

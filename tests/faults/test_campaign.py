"""Any command survives kills and failing system calls; `DIANTU_FUZZ_ROUNDS=500` runs 500 rounds instead of a few."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from faults.campaign import preload, run
from faults.interception import why_not
from fuzzing import rounds
from zygote import Zygote

ROUNDS = rounds(3)
# Two quick scenarios; all of them are drawn when more rounds are asked for.
QUICK = () if "DIANTU_FUZZ_ROUNDS" in os.environ else ("delete-keys", "compact")


@pytest.mark.fuzz
@pytest.mark.timeout(300 + 20 * ROUNDS)
def test_kills_and_failing_system_calls_do_no_harm(tmp_path: Path, jobs: Zygote) -> None:
    if reason := why_not():
        pytest.skip(reason)
    preload(jobs, models=not QUICK)
    done = list(run(range(ROUNDS), tmp_path, jobs, QUICK))
    assert not [str(one) for one in done if one.problem]
    assert any(one.code for one in done), "no round was disturbed: the test checks nothing"

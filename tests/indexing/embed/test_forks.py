"""What the processes of a job leave behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SENDS = """
import multiprocessing, sys, time
from diantu.indexing.embed.forks import ignore_gone_readers
if sys.argv[1] == "quiet":
    ignore_gone_readers()
queue = multiprocessing.Queue()
queue._reader.close()
queue.put(eval(sys.argv[2]))
queue.close()
queue.join_thread()
"""


@pytest.mark.parametrize(
    ("how", "what", "said"),
    [
        ("quiet", "bytes(10**6)", ""),
        ("as it is", "bytes(10**6)", "BrokenPipeError"),  # else the first case would show nothing
        ("quiet", "lambda: 0", "PicklingError"),
    ],
)
def test_only_a_reader_that_is_gone_is_not_reported(how: str, what: str, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", _SENDS, how, what], capture_output=True, text=True, timeout=100)
    assert (said in done.stderr) if said else not done.stderr

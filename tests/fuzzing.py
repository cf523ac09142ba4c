"""How many rounds a fuzz test runs: few in the suite, thousands with the environment variable DIANTU_FUZZ_ROUNDS."""

from __future__ import annotations

import os


def rounds(default: int) -> int:
    """The number of rounds: the default, or what the environment says."""
    return int(os.environ.get("DIANTU_FUZZ_ROUNDS", default))

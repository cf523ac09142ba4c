"""How many rounds a fuzz test runs: few in the suite, thousands with the environment variable DIANTU_FUZZ_ROUNDS."""

from __future__ import annotations

import os


def rounds(default: int) -> int:
    """Returns the number of rounds: the variable's, or the default."""
    return int(os.environ.get("DIANTU_FUZZ_ROUNDS", default))

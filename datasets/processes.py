"""Commands of processes that run a function of this package."""

from __future__ import annotations

import json
import sys

_PROGRAM = "import sys, json; sys.path[:] = json.loads(sys.argv.pop(1)); from {0} import {1}; {1}()"


def python_command(module: str, function: str, *arguments: str) -> list[str]:
    """The command of a process that calls a function without arguments; it finds the given ones in `sys.argv[1:]`.

    The module path is that of this process, and no file of the current folder is imported.
    """
    return [sys.executable, "-c", _PROGRAM.format(module, function), json.dumps(sys.path), *arguments]

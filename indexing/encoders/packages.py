"""Optional packages: checked once, answered with the pip line that brings them."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from ...datasets.errors import InputError


def require(encoder: str, extra: str, *modules: str) -> None:
    """Checks that modules can be found, without importing them.

    Raises:
        InputError: with the pip line, if one is missing.
    """
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        names = ", ".join(missing)
        raise InputError(
            f'encoder {encoder!r} needs {names}, which is not installed; run: pip install "diantu[{extra}]"'
        )


def verified(path: Path, sha256: str) -> Path:
    """The path, once its bytes are known to be the ones that were tested.

    Raises:
        InputError: if the file is missing or its sha256 differs.
    """
    if not path.is_file():
        raise InputError(f"the weights {path} are missing; reinstall the package that brings them")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise InputError(
            f"the weights {path} have sha256 {found}, expected {sha256}; reinstall the package that brings them"
        )
    return path

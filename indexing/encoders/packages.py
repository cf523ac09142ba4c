"""Checks on optional packages: whether they are installed, and whether their files are the ones that were tested."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from ...datasets.errors import InputError


def require(encoder: str, requirement: str, *packages: str) -> None:
    """Checks that packages are installed, without importing them.

    Args:
        encoder: the encoder that needs them, for the message.
        requirement: what `pip install` must be given to install them.
        packages: names of modules.

    Raises:
        InputError: with the pip command, if one is missing.
    """
    require_packages(f"encoder {encoder!r}", requirement, *packages)


def require_packages(what: str, requirement: str, *packages: str) -> None:
    """The same for something else than an encoder."""
    missing = [module for module in packages if importlib.util.find_spec(module) is None]
    if missing:
        names = ", ".join(missing)
        raise InputError(f'{what} needs {names}, which is not installed; run: pip install "{requirement}"')


def verified(path: Path, sha256: str) -> Path:
    """Returns the path after checking that its bytes are the ones that were tested.

    Raises:
        InputError: if the file is missing or its sha256 differs.
    """
    if not path.is_file():
        raise InputError(f"the weights {path} are missing; reinstall the package that contains them")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise InputError(
            f"the weights {path} have sha256 {found}, expected {sha256}; reinstall the package that contains them"
        )
    return path

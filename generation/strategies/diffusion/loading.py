"""What loading models has in common: what may go wrong, and which content a folder has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_HASHED = {".json", ".safetensors", ".txt", ".model"}  # what decides a local model's pictures


def load_errors() -> tuple[type[Exception], ...]:
    """What loading weights and configurations raises where files are missing, broken or made for something else."""
    from safetensors import SafetensorError

    return (OSError, ValueError, ImportError, RuntimeError, SafetensorError)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Without diffusers' own progress bars: a run shows one of its own."""
    from diffusers.utils import logging

    was_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            logging.enable_progress_bar()


def content_sha256(folder: Path, paths: Iterable[Path]) -> str:
    """sha256 over names and bytes of those files that decide pictures: the revision of a local model."""
    digest = hashlib.sha256()
    for path in sorted(path for path in paths if path.suffix in _HASHED):
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def reason(error: Exception) -> str:
    """The first line of an error."""
    return " ".join(str(error).strip().split("\n")[0].split())

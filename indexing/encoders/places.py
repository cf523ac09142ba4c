"""Which encoders may be loaded because a gallery names them, without a word of the person who opens it.

A gallery may be a stranger's. Weights are data (tensors only, see `model_files`), so what is left to decide is where
they are read from: a path can lead to another machine (on Windows, `//host/share` sends the user's credentials there),
and the name of a repository makes this machine download what its author has put there.
"""

from __future__ import annotations

from pathlib import Path

from ...datasets.errors import InputError

# Those who published the models of the types that are supported.
_PUBLISHERS = frozenset({"openai", "OFA-Sys", "google", "facebook", "laion"})


def check_place(name: str, weights: str, gallery: Path) -> None:
    """Checks that a gallery may name an encoder.

    Allowed are the published weights of the built-in families, local files and folders outside the gallery,
    repositories of the publishers of these models, and repositories that this machine has downloaded before.

    Args:
        name: the encoder's full name, `family:weights`.
        weights: the part of the name after the colon.
        gallery: the folder of the gallery.

    Raises:
        InputError: if the weights are elsewhere.
    """
    # open_clip's names are `architecture/path`.
    paths = [weights, *([weights.partition("/")[2]] if name.startswith("open_clip:") else [])]
    if any(_is_remote(path) for path in paths):
        raise _not_allowed(name, gallery, "which is on another machine")
    if any(_is_below(path, gallery) for path in paths if path):
        raise _not_allowed(name, gallery, "which came with the gallery")
    if name.startswith("hf:") and not _is_path(weights) and not _is_known(weights):
        raise _not_allowed(name, gallery, "a repository that this machine has not downloaded yet")


def _not_allowed(name: str, gallery: Path, why: str) -> InputError:
    return InputError(
        f"the gallery {gallery} names the encoder {name!r}, {why}, so it is not loaded only because the gallery says "
        f"so; if you trust it, name it yourself: encoder={name!r} in Python, --encoder {name!r} on the command line"
    )


def _is_remote(path: str) -> bool:
    """Whether a path is a network share or a device of Windows, or a URL."""
    return path.startswith(("//", "\\\\", "/\\", "\\/")) or "://" in path


def _is_below(path: str, gallery: Path) -> bool:
    found = _existing(path)
    return found is not None and found.resolve().is_relative_to(gallery.resolve())


def _is_path(weights: str) -> bool:
    return weights.startswith((".", "~", "/")) or weights.count("/") > 1 or _existing(weights) is not None


def _existing(path: str) -> Path | None:
    """Returns a path if it leads to something; a text that is no path at all does not."""
    try:
        found = Path(path).expanduser()
        return found if found.exists() else None
    except (OSError, RuntimeError, ValueError):
        return None


def _is_known(repository: str) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if repository.partition("/")[0] in _PUBLISHERS:
        return True
    try:
        return isinstance(try_to_load_from_cache(repository, "config.json"), str)
    except HFValidationError:
        return True  # no name of a repository, so nothing is downloaded; loading says what is wrong

"""Loads a pipeline from the hub or from a folder, and records what was loaded.

Weights are read from safetensors only, and code that comes with a model is not run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....datasets.errors import InputError
from ....datasets.files import open_regular
from .components import check_components, check_loaded
from .options import ModelOptions

if TYPE_CHECKING:
    import torch

_HASHED = {".json", ".safetensors", ".txt", ".model"}  # the files of a local model that decide its images


def load_pipeline(
    pipeline_class: Any, options: ModelOptions, *, device: torch.device, dtype: torch.dtype
) -> tuple[Any, str]:
    """Loads a pipeline with its weights. Without offloading, it is moved to the device.

    Args:
        pipeline_class: of diffusers.
        options: which model, revision and variant.
        device: where the pipeline runs.
        dtype: the precision of the weights.

    Returns:
        The pipeline and its revision: the commit of a repository, or the sha256 of a folder.

    Raises:
        InputError: if the model cannot be found or loaded, or the CPU is asked to offload.
    """
    if options.offload != "none" and device.type == "cpu":
        raise InputError(f"offload={options.offload!r} needs a GPU and the device is cpu; give offload=none")
    try:
        folder, revision = _resolve(pipeline_class, options)
        check_components(folder, options)
        with _quiet_loading():
            pipeline = pipeline_class.from_pretrained(
                folder, dtype=dtype, variant=options.variant, use_safetensors=True, trust_remote_code=False
            )
        check_loaded(pipeline, options)
    except InputError:
        raise
    except ImportError as error:  # the message of transformers or diffusers names the missing package
        raise InputError(
            f"model {options.name!r} needs a package that is not installed ({reason(error)}); "
            'run: pip install "diantu[generate]"'
        ) from error
    except load_errors() as error:
        raise InputError(
            f"model {options.name!r} cannot be loaded ({reason(error)}); give a repository that this machine can "
            "reach, or a folder with model_index.json and weights as safetensors"
        ) from error
    if hasattr(pipeline, "vae") and hasattr(pipeline.vae, "enable_slicing"):
        pipeline.vae.enable_slicing()  # decode one image at a time, so that its memory does not grow with the batch
    return (pipeline if options.offload != "none" else pipeline.to(device)), revision


def load_errors() -> tuple[type[Exception], ...]:
    """Returns what loading raises for weights or configurations that are missing, broken or of another model.

    Files that a stranger has written can make diffusers and transformers raise anything.
    """
    return (Exception,)


def content_sha256(folder: Path, paths: Iterable[Path]) -> str:
    """Returns the revision of a local model: sha256 over names and bytes of the files that decide its images."""
    digest = hashlib.sha256()
    for path in sorted(path for path in paths if path.suffix in _HASHED and not path.is_dir()):
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
        with open_regular(path) as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def reason(error: Exception) -> str:
    """Returns the first line of the message of an error."""
    return " ".join(str(error).strip().split("\n")[0].split())


def _resolve(pipeline_class: Any, options: ModelOptions) -> tuple[Path, str]:
    """Returns the folder of the model, downloaded if necessary, and its revision."""
    folder = Path(options.name)
    if folder.is_dir():
        return folder, content_sha256(folder, folder.rglob("*"))
    folder = Path(
        pipeline_class.download(options.name, revision=options.revision, variant=options.variant, use_safetensors=True)
    )
    return folder, folder.name  # the cache of the hub names folders by commit


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Hides the progress bars of diffusers, because a run shows its own."""
    from diffusers.utils import logging

    was_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            logging.enable_progress_bar()

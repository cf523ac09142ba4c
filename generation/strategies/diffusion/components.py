"""Checks the parts of a pipeline: no code of strangers, no settings that fit no memory, no weights that are missing."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....datasets.errors import InputError
from ....datasets.files import read_bytes
from ....indexing.encoders.model_files import check_finite, check_settings, check_size
from .options import ModelOptions

_LIBRARIES = ("diffusers", "transformers")
_MOST_TIMESTEPS = 100_000  # of a scheduler, which keeps several numbers for each; published ones have 1000


def check_index(index: Mapping[str, Any], options: ModelOptions) -> None:
    """Checks the classes that the `model_index.json` of a model names, before diffusers imports their modules.

    Raises:
        InputError: if a class is neither of diffusers nor of transformers.
    """
    from diffusers import pipelines

    for component, value in index.items():
        if component.startswith("_") or not isinstance(value, list) or value == [None, None]:
            continue
        library = value[0] if len(value) == 2 and all(isinstance(each, str) for each in value) else None
        if library not in _LIBRARIES and not (library and library in dir(pipelines)):
            raise InputError(
                f"the model_index.json of {options.name!r} names {value!r} for {component}, which is no class of "
                "diffusers or transformers, and diantu does not run code that comes with a model; give another model"
            )


def check_components(folder: Path, options: ModelOptions) -> None:
    """Checks the settings of the parts of a pipeline before memory is reserved for them.

    Raises:
        InputError: if they ask for code, kernels, another model or more memory than their weights need.
    """
    index = json.loads(read_bytes(folder / "model_index.json"))
    check_index(index, options)
    for component, value in index.items():
        if not isinstance(value, list) or value == [None, None]:
            continue
        if component.startswith("tokenizer") and not (folder / component).is_dir():
            raise InputError(f"model {options.name!r} lacks the folder {component}; give a complete model")
        if (folder / component).is_dir():
            is_auto = isinstance(value[1], str) and value[1].startswith("Auto")  # these look for the code that is named
            what = f"{component} of model {options.name!r}"
            check_settings(what, str(folder / component), may_be_quantized=True, may_name_code=not is_auto)
            _check_scheduler(what, folder / component)
            _check_size(what, folder / component, value)


def check_loaded(pipeline: Any, options: ModelOptions) -> None:
    """Checks that all weights of a pipeline were in its files and are numbers.

    Raises:
        InputError: if they are not.
    """
    for component, part in pipeline.components.items():
        if not hasattr(part, "named_parameters"):
            continue
        what = f"{component} of model {options.name!r}"
        for name, parameter in part.named_parameters():
            if parameter.is_meta:
                raise InputError(f"{what} lacks weights that its config.json describes ({name}); give a complete model")
        check_finite(what, dict(part.named_parameters()))


def _check_scheduler(what: str, folder: Path) -> None:
    path = folder / "scheduler_config.json"
    settings = json.loads(read_bytes(path)) if path.exists() else {}
    steps = settings.get("num_train_timesteps", 1000)
    if not (isinstance(steps, int) and 0 < steps <= _MOST_TIMESTEPS):
        raise InputError(
            f"{what} has num_train_timesteps {steps!r} in its scheduler_config.json; give a whole number from 1 to "
            f"{_MOST_TIMESTEPS}"
        )


def _check_size(what: str, folder: Path, named: list[Any]) -> None:
    """Refuses a part whose config.json describes more parameters than its weight files can hold."""
    import torch

    path = folder / "config.json"
    settings = json.loads(read_bytes(path)) if path.exists() else {}
    found = getattr(_module(named[0]), named[1], None)
    is_model = isinstance(found, type) and issubclass(found, torch.nn.Module)
    if not is_model or not isinstance(settings, dict) or settings.get("quantization_config"):
        return
    files = list(folder.glob("*.safetensors"))
    if not files:
        raise InputError(
            f"{what} has no weights as safetensors; other formats may run code, so give the model with safetensors"
        )
    check_size(what, settings, files, lambda: _built(found, folder))


def _built(model_class: Any, folder: Path) -> Any:
    if hasattr(model_class, "load_config"):  # of diffusers
        return model_class.from_config(model_class.load_config(folder))
    return model_class(model_class.config_class.from_pretrained(folder))


def _module(library: str) -> Any:
    from diffusers import pipelines

    return importlib.import_module(library) if library in _LIBRARIES else getattr(pipelines, library)

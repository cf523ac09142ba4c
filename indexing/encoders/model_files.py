"""What a model of transformers may ask for: tensors and settings. Code, kernels and other models are refused.

A folder or a repository comes from a stranger. Its settings can name Python code (`auto_map`), kernels that are
downloaded and run (`attn_implementation`), formats of weights that need other packages (`quantization_config`), and
another model (`adapter_config.json`); and they can describe a model that fits into no memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...datasets.errors import InputError
from ...datasets.files import read_bytes

_SETTINGS = ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json")
_IMPLEMENTATIONS = ("attn_implementation", "experts_implementation")
_OWN = (None, "eager", "sdpa")  # implementations that are part of transformers and torch
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_MOST_LAYERS = 1000  # the largest published vision transformers have about 60


def check_settings(what: str, weights: str, *, may_be_quantized: bool = False, may_name_code: bool = True) -> None:
    """Checks the files of settings of a model.

    Args:
        what: the model, for messages.
        weights: its folder or repository.
        may_be_quantized: whether other packages may unpack its weights.
        may_name_code: whether settings may name code, because the caller says `trust_remote_code=False`.

    Raises:
        InputError: if the settings ask for more than tensors.
    """
    if model_file(weights, "adapter_config.json"):
        raise InputError(
            f"{what} is an adapter (adapter_config.json), which names another model to load; merge it with that model "
            "and give the merged model"
        )
    for file in _SETTINGS:
        if path := model_file(weights, file):
            for key, value in _pairs(json.loads(read_bytes(path))):
                if not (key == "quantization_config" and may_be_quantized):
                    _check_setting(what, file, key, value)
                if key == "auto_map" and not may_name_code:
                    raise InputError(
                        f"{what} comes with Python code of its own (auto_map in {file}), and diantu runs no code of a "
                        "model; give another model"
                    )


def check_weights(what: str, model_class: Any, config: Any, weights: str) -> None:
    """Checks the weight files before memory is reserved: they hold tensors only, and as many as the settings describe.

    Raises:
        InputError: if a file is a pickle of more than tensors, or the settings describe a larger model.
    """
    files = _weight_files(weights)
    for path in files:
        if path.suffix != ".safetensors":
            _check_pickle(what, path)
    check_size(what, config.to_dict(), files, lambda: model_class(config))


def check_size(what: str, settings: Mapping[str, Any], files: Sequence[Path], build: Callable[[], Any]) -> None:
    """Checks that a model is not larger than its weight files, before memory is reserved.

    Args:
        what: the model, for messages.
        settings: of its config.json.
        files: with its weights.
        build: makes the model without weights; it is called where tensors take no memory.

    Raises:
        InputError: if the settings describe a larger model.
    """
    import torch

    for key, value in _pairs(settings):
        numbers = value if isinstance(value, list) else [value]
        if "layers" in key and any(isinstance(number, int) and number > _MOST_LAYERS for number in numbers):
            raise InputError(f"{what} has {key} {value} in its config.json; at most {_MOST_LAYERS} are supported")
    num_bytes = sum(path.stat().st_size for path in files)
    with torch.device("meta"):
        described = sum(parameter.numel() for parameter in build().parameters())
    if described > num_bytes:  # no format that is supported stores a parameter in less than a byte
        raise InputError(
            f"{what} has {described} parameters by its config.json, and its weight files have {num_bytes} bytes; they "
            "do not belong together, so give the config.json of these weights"
        )


def check_finite(what: str, tensors: Mapping[str, Any]) -> None:
    """Checks that all weights are numbers.

    Raises:
        InputError: if one is infinite or not a number, because then no vector of the model is.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"{what} has weights that are not finite (in {name}); download the model again")


def model_file(weights: str, file: str) -> Path | None:
    """Returns a file of a folder or, downloaded if necessary, of a repository; None if it has no such file."""
    from transformers.utils.hub import cached_file

    found = cached_file(
        weights, file, _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )  # fmt: skip
    return None if found is None else Path(found)


def _check_pickle(what: str, path: Path) -> None:
    """Checks that a checkpoint which is no safetensors holds tensors only; torch reads no other objects then."""
    import torch

    try:
        found = torch.load(path, map_location="meta", weights_only=True)
    except Exception as error:  # torch raises many types about a file that is no checkpoint
        raise InputError(
            f"the weights {path.name} of {what} cannot be loaded safely: they are a pickle of more than tensors, which "
            "could run code, or they are damaged; give the model with its weights as safetensors"
        ) from error
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise InputError(f"{path.name} of {what} holds no tensors by name; give the model with safetensors")


def _check_setting(what: str, file: str, key: str, value: Any) -> None:
    if key == "quantization_config" and value:
        raise InputError(f"{what} has quantized weights ({key} in {file}), which are not supported; give the full ones")
    if key.lstrip("_").removesuffix("_internal") in _IMPLEMENTATIONS and value not in _OWN:
        raise InputError(
            f"{what} asks for a kernel that is not part of torch ({key} in {file}), and diantu runs no code that a "
            f"model names; remove {key}"
        )


def _weight_files(weights: str) -> list[Path]:
    """Returns the files that transformers reads: one file, or the files that an index names."""
    for name in _WEIGHTS:
        if path := model_file(weights, name):
            return [path]
        if index := model_file(weights, f"{name}.index.json"):
            names = sorted(set(json.loads(read_bytes(index))["weight_map"].values()))
            return [path for each in names if (path := model_file(weights, each))]
    return []


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Yields all keys and values of nested objects."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key), inner
            yield from _pairs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _pairs(inner)

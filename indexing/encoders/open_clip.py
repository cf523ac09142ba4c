"""Models of open_clip: any of its architectures, with published weights by their tag or a local checkpoint."""

from __future__ import annotations

import difflib
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ...datasets.errors import InputError
from .packages import require
from .spec import EncoderSpec
from .torch_encoder import TorchDualEncoder, resolve_device, resolve_dtype, warn_of_cuts, weights_sha256

log = logging.getLogger(__name__)

# What loading raises over files that are something else than a checkpoint of the architecture.
_NO_CHECKPOINT = (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, KeyError, AttributeError)
# open_clip's name of a way to resize → ours. It has a third, "longest", which pads; no published weights use it.
_RESIZE = {"squash": "squash", "shortest": "shortest_edge_crop_rounded"}


def load(name: str, weights: str, *, device: str, precision: str) -> TorchDualEncoder:
    """Loads a model; `weights` is `<architecture>/<tag>` or `<architecture>/<path of a checkpoint>`."""
    require(name, "open-clip", "open_clip")
    import open_clip

    architecture, _, pretrained = weights.partition("/")
    config = _config(architecture, pretrained)
    source, preprocessing = _source(name, architecture, pretrained, quick_gelu=config.get("quick_gelu", False))
    try:
        model: Any = open_clip.create_model(architecture, source, weights_only=True, force_preprocess_cfg=preprocessing)
        tokenizer: Any = open_clip.get_tokenizer(architecture)
    except _NO_CHECKPOINT as error:
        raise InputError(
            f"{pretrained} holds no weights of {architecture} that can be loaded safely ({_reason(error)})"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"encoder {name!r} cannot be loaded ({_reason(error)}); its tokenizer may lie in a model repository, which "
            "this machine must have reached once"
        ) from error
    model.eval()  # open_clip hands models out in training mode

    context = int(tokenizer.context_length)
    spec = EncoderSpec(
        name=name,
        weights=weights,
        weights_sha256=weights_sha256(model.state_dict()),
        dim=config["embed_dim"],
        text_context=context,
        # ViT-B-32 and ViT-B-32-quickgelu have the same tensors and give different vectors.
        architecture=architecture,
        **_preprocessing(name, model.visual.preprocess_cfg),
    )
    where = resolve_device(device)
    dtype = resolve_dtype(precision, where)
    model.to(where, dtype)

    def text_features(texts: list[str]) -> torch.Tensor:
        warn_of_cuts((_num_tokens(tokenizer, text) for text in texts), context)
        return model.encode_text(tokenizer(texts).to(where))

    return TorchDualEncoder(spec, model.encode_image, text_features, device=where, dtype=dtype)


def _config(architecture: str, pretrained: str) -> dict[str, Any]:
    """open_clip's description of an architecture."""
    import open_clip

    config = open_clip.get_model_config(architecture) if architecture in open_clip.list_models() else None
    if config is None:
        near = ", ".join(difflib.get_close_matches(architecture, open_clip.list_models(), cutoff=0))
        raise InputError(f"open_clip has no architecture {architecture!r}; the nearest of its names: {near}")
    if not pretrained:
        tags = _tags(architecture)
        raise InputError(
            f"the weights of {architecture} are missing; give open_clip:{architecture}/ and one of: {tags}"
        )
    return config


def _source(name: str, architecture: str, pretrained: str, *, quick_gelu: bool) -> tuple[str, dict[str, Any]]:
    """What open_clip is to load, a tag or a file's path, and the preprocessing where it would not know it."""
    import open_clip

    tag = open_clip.get_pretrained_cfg(architecture, pretrained)
    if not tag:
        path = Path(pretrained).expanduser()
        if not path.is_file():
            raise InputError(
                f"{pretrained!r} is neither weights of {architecture} in open_clip nor a file; give one of: "
                f"{_tags(architecture)}"
            )
        return str(path), _preprocessing_of_tags(architecture)
    # open_clip only warns here, and gives vectors of an activation that the weights were not trained with.
    if tag.get("quick_gelu") and not quick_gelu:
        raise InputError(
            f"the weights {pretrained!r} were trained with QuickGELU, which {architecture} does not have; give "
            f"open_clip:{architecture}-quickgelu/{pretrained}"
        )
    try:
        open_clip.download_pretrained(tag)  # here, since `create_model` would log the error besides raising it
    except Exception as error:  # whatever the client raises, offline or refused
        raise InputError(
            f"the weights of {name!r} cannot be downloaded ({_reason(error)}); give the path of the checkpoint as "
            f"open_clip:{architecture}/<path>"
        ) from error
    return pretrained, {}


def _preprocessing_of_tags(architecture: str) -> dict[str, Any]:
    """The preprocessing that all published weights of an architecture share, for a checkpoint, which has none.

    open_clip takes CLIP's for every file, which is wrong for SigLIP, CLIPA, MobileCLIP and others.
    """
    import open_clip

    tags = (
        open_clip.get_pretrained_cfg(architecture, tag) for tag in open_clip.list_pretrained_tags_by_model(architecture)
    )
    different: list[dict[str, Any]] = []
    for tag in tags:
        settings = {key: tag[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in tag}
        if settings not in different:
            different.append(settings)
    if len(different) > 1:
        log.warning(
            "weights of %s were published with %d kinds of preprocessing, and a checkpoint does not say which is its "
            "own; open_clip's default is taken",
            architecture,
            len(different),
        )
    return different[0] if len(different) == 1 else {}


def _tags(architecture: str) -> str:
    import open_clip

    return ", ".join((*open_clip.list_pretrained_tags_by_model(architecture), "the path of a checkpoint"))


def _reason(error: Exception) -> str:
    """The beginning of an error's text, in one line; torch goes on with how to switch its safety off."""
    return " ".join(str(error).split())[:200].partition(". ")[0]


def _num_tokens(tokenizer: Any, text: str) -> int:
    """How many tokens a text has before it is cut, with those that mark begin and end."""
    if hasattr(tokenizer, "encode"):  # CLIP's own; all others are transformers' in a wrapper
        return len(tokenizer.encode(text)) + 2
    return len(tokenizer.tokenizer(tokenizer.clean_fn(text))["input_ids"])


def _preprocessing(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """open_clip's settings in our words; every one of them decides the vectors, so none is guessed."""
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else size
    if height != width or config["resize_mode"] not in _RESIZE:
        raise InputError(
            f"the preprocessing of {name!r} (size {height} × {width}, resize {config['resize_mode']!r}) is neither a "
            "squash to a square nor resize and crop, which is not supported"
        )
    return {
        "image_size": height,
        "resize": _RESIZE[config["resize_mode"]],
        "resize_size": height,
        # As open_clip reads it: everything but "bilinear" is bicubic.
        "interpolation": "bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        "mean": _channels(config["mean"]),
        "std": _channels(config["std"]),
    }


def _channels(values: float | list[float] | tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values if isinstance(values, (list, tuple)) else (values,) * 3
    return float(red), float(green), float(blue)

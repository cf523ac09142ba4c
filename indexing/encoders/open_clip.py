"""Models of open_clip: any of its architectures, with published weights by tag, or with a local checkpoint."""

from __future__ import annotations

import difflib
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...datasets.errors import InputError
from .family import EncoderFamily
from .spec import EncoderSpec, ImageEncoder, Precision, PreprocessingFields, Resize

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

# open_clip's name for a way to resize → ours. It has a third, "longest", which pads; no published weights use it.
_RESIZE: dict[str, Resize] = {"squash": "squash", "shortest": "shortest_edge_crop_rounded"}


def load(name: str, weights: str, *, device: str, precision: Precision) -> ImageEncoder:
    """Loads a model; `weights` is `<architecture>/<tag>` or `<architecture>/<path of a checkpoint>`."""
    from .torch_encoder import TorchDualEncoder, resolve_device, resolve_dtype, warn_of_cuts, weights_sha256

    architecture, _, pretrained = weights.partition("/")
    config = _config(architecture, pretrained)
    source, preprocessing = _source(name, architecture, pretrained, quick_gelu=config.get("quick_gelu", False))
    model, tokenizer = _model_and_tokenizer(name, architecture, source, preprocessing)
    context = int(tokenizer.context_length)
    spec = EncoderSpec(
        name=name,
        weights=weights,
        weights_sha256=weights_sha256(model.state_dict()),
        dim=config["embed_dim"],
        text_context=context,
        # ViT-B-32 and ViT-B-32-quickgelu have the same tensors but return different vectors.
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


FAMILY = EncoderFamily(
    name="open_clip",
    weights="an architecture/a tag of its weights or the path of a checkpoint",
    packages=("open_clip",),
    requirement="diantu[open-clip]",
    load=load,
)


def _model_and_tokenizer(name: str, architecture: str, source: str, preprocessing: dict[str, Any]) -> tuple[Any, Any]:
    import open_clip
    from safetensors import SafetensorError

    # What loading raises for files that are not a checkpoint of the architecture.
    no_checkpoint = (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, KeyError, AttributeError)
    try:
        model = open_clip.create_model(architecture, source, weights_only=True, force_preprocess_cfg=preprocessing)
        tokenizer = open_clip.get_tokenizer(architecture)
    except no_checkpoint as error:
        raise InputError(
            f"{source} holds no weights of {architecture} that can be loaded safely ({_reason(error)})"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"encoder {name!r} cannot be loaded ({_reason(error)}); its tokenizer may be in a model repository, which "
            "this machine must have downloaded once"
        ) from error
    return model.eval(), tokenizer  # open_clip returns models in training mode


def _config(architecture: str, pretrained: str) -> dict[str, Any]:
    """Returns open_clip's description of an architecture."""
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
    """What open_clip loads, a tag or the path of a file, and the preprocessing if open_clip would not know it."""
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
    # open_clip only warns here, and computes with an activation that the weights were not trained with.
    if tag.get("quick_gelu") and not quick_gelu:
        raise InputError(
            f"the weights {pretrained!r} were trained with QuickGELU, which {architecture} does not have; give "
            f"open_clip:{architecture}-quickgelu/{pretrained}"
        )
    try:
        open_clip.download_pretrained(tag)  # here, because `create_model` would log the error in addition to raising it
    except Exception as error:  # the client may raise anything if it is offline or refused
        raise InputError(
            f"the weights of {name!r} cannot be downloaded ({_reason(error)}); give the path of the checkpoint as "
            f"open_clip:{architecture}/<path>"
        ) from error
    return pretrained, {}


def _preprocessing_of_tags(architecture: str) -> dict[str, Any]:
    """The preprocessing that all published weights of an architecture share; a checkpoint does not store its own.

    open_clip uses CLIP's for every file, which is wrong for SigLIP, CLIPA, MobileCLIP and others.
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
            "own; open_clip's default is used",
            architecture,
            len(different),
        )
    return different[0] if len(different) == 1 else {}


def _tags(architecture: str) -> str:
    import open_clip

    return ", ".join((*open_clip.list_pretrained_tags_by_model(architecture), "the path of a checkpoint"))


def _reason(error: Exception) -> str:
    """The first sentence of an error, in one line. The rest of torch's text says how to switch its safety off."""
    return " ".join(str(error).split())[:200].partition(". ")[0]


def _num_tokens(tokenizer: Any, text: str) -> int:
    """The number of tokens of a text before it is cut, including those that mark the beginning and the end."""
    if hasattr(tokenizer, "encode"):  # CLIP's own tokenizer; all others wrap one of transformers
        return len(tokenizer.encode(text)) + 2
    return len(tokenizer.tokenizer(tokenizer.clean_fn(text))["input_ids"])


def _preprocessing(name: str, config: Mapping[str, Any]) -> PreprocessingFields:
    """open_clip's settings under our names. Each one decides the vectors, so none is guessed."""
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
        # As in open_clip: everything except "bilinear" is bicubic.
        "interpolation": "bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        "resizer": "torch",
        "mean": _channels(config["mean"]),
        "std": _channels(config["std"]),
    }


def _channels(values: float | list[float] | tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values if isinstance(values, (list, tuple)) else (values,) * 3
    return float(red), float(green), float(blue)

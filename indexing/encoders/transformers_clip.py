"""Models of transformers, by repository or folder: CLIP, Chinese-CLIP (both sides) and DINOv2 (pictures alone)."""

from __future__ import annotations

import logging
from typing import Any

import torch
from PIL import Image

from ...datasets.types import InputError
from .spec import EncoderSpec
from .torch_encoder import TorchDualEncoder, TorchImageEncoder, resolve_device, resolve_dtype, weights_sha256

log = logging.getLogger(__name__)

_MODELS = {"clip": "CLIPModel", "chinese_clip": "ChineseCLIPModel", "dinov2": "Dinov2Model"}
# Chinese-CLIP was trained on texts of 52 tokens, though its text model has 512 positions.
_TEXT_CONTEXT = {"chinese_clip": 52}


def load(name: str, weights: str, *, device: str, precision: str) -> TorchImageEncoder:
    """Loads a model with its own preprocessing; `weights` is a repository or a folder."""
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(weights)
        if config.model_type not in _MODELS:
            allowed = ", ".join(_MODELS)
            raise InputError(
                f"{name!r} is a model of type {config.model_type!r}; the types that can be used: {allowed}"
            )
        model = getattr(transformers, _MODELS[config.model_type]).from_pretrained(weights, dtype=torch.float32).eval()
        processor = transformers.AutoImageProcessor.from_pretrained(weights)
        has_texts = config.model_type != "dinov2"
        tokenizer = transformers.AutoTokenizer.from_pretrained(weights) if has_texts else None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split("\n")[0].split())
        raise InputError(
            f"encoder {name!r} cannot be loaded ({reason}); give a folder with config, weights, preprocessor and "
            "tokenizer, or a repository that this machine can reach"
        ) from error

    context = _text_context(config) if has_texts else 0
    spec = EncoderSpec(
        name=name,
        weights=weights,
        weights_sha256=weights_sha256(model.state_dict()),
        dim=config.projection_dim if has_texts else config.hidden_size,
        text_context=context,
        revision=getattr(config, "_commit_hash", None),
        **_preprocessing(name, processor),
    )
    where = resolve_device(device)
    dtype = resolve_dtype(precision, where)
    model.to(where, dtype)
    if tokenizer is None:
        return TorchImageEncoder(
            spec, lambda pixels: model(pixel_values=pixels).pooler_output, device=where, dtype=dtype
        )

    def image_features(pixels_BCHW: torch.Tensor) -> torch.Tensor:
        return _pooled(model.get_image_features(pixel_values=pixels_BCHW))

    def text_features(texts: list[str]) -> torch.Tensor:
        return _pooled(model.get_text_features(**_tokenize(tokenizer, texts, context).to(where)))

    return TorchDualEncoder(spec, image_features, text_features, device=where, dtype=dtype)


def _pooled(output: Any) -> torch.Tensor:
    """Features, which some releases of transformers wrap in an output object."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def _text_context(config: Any) -> int:
    return int(_TEXT_CONTEXT.get(config.model_type) or config.text_config.max_position_embeddings)


def _tokenize(tokenizer: Any, texts: list[str], context: int) -> Any:
    cut = sum(len(ids) > context for ids in tokenizer(texts)["input_ids"])
    if cut:
        log.warning(
            "%d of %d texts are longer than %d tokens; what lies beyond is not searched", cut, len(texts), context
        )
    return tokenizer(texts, padding=True, truncation=True, max_length=context, return_tensors="pt")


def _preprocessing(name: str, processor: Any) -> dict[str, Any]:
    """The processor's settings in our words; every one of them decides the vectors, so none is guessed."""
    size, crop = dict(processor.size), dict(processor.crop_size or {})
    squash = "height" in size
    if (squash and size["height"] != size["width"]) or (crop and crop["height"] != crop["width"]):
        raise InputError(
            f"the preprocessing of {name!r} is not square (size {size}, crop {crop}), which is not supported"
        )
    cropped = processor.do_center_crop and bool(crop)
    if not processor.do_resize or not (squash or (cropped and "shortest_edge" in size)):
        raise InputError(
            f"the preprocessing of {name!r} (size {size}, crop {crop}) is neither a squash nor resize and crop"
        )
    side = size["height"] if squash else size["shortest_edge"]
    return {
        "image_size": crop["height"] if cropped else side,
        "resize": "squash" if squash else "shortest_edge_crop",
        "resize_size": side,
        "interpolation": Image.Resampling(processor.resample).name.lower(),
        "mean": tuple(float(value) for value in processor.image_mean),
        "std": tuple(float(value) for value in processor.image_std),
    }

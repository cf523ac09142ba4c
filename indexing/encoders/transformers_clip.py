"""Models of transformers, by repository or folder: CLIP, Chinese-CLIP, SigLIP; DINOv2 and DINOv3 (images only)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, get_args

from PIL import Image

from ...datasets.errors import InputError, first_line
from .family import EncoderFamily
from .model_files import check_finite, check_settings, check_weights
from .packages import require
from .resizers import resizer_for
from .spec import EncoderSpec, ImageEncoder, Interpolation, Precision, PreprocessingFields

if TYPE_CHECKING:
    import torch

_REQUIREMENT = "diantu[hf]"

_DUAL = {"clip": "CLIPModel", "chinese_clip": "ChineseCLIPModel", "siglip": "SiglipModel"}
_IMAGES_ONLY = {
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel",
}
_MODELS = {**_DUAL, **_IMAGES_ONLY}
_LARGEST = 4096  # pixels of a side; the largest published models have 1024
# Chinese-CLIP was trained on texts of 52 tokens, although its text model has 512 positions.
_TEXT_CONTEXT = {"chinese_clip": 52}


def load(name: str, weights: str, *, device: str, precision: Precision) -> ImageEncoder:
    """Loads a model with its own preprocessing; `weights` is a repository or a folder."""
    from .torch_encoder import (
        TorchDualEncoder,
        TorchImageEncoder,
        has_known,
        resolve_device,
        resolve_dtype,
        weights_sha256,
    )

    with _refusals(name):
        config, model, processor, tokenizer = _from_pretrained(name, weights)
        context = _text_context(config) if tokenizer else 0
        spec = EncoderSpec(
            name=name,
            weights=weights,
            weights_sha256=weights_sha256(model.state_dict()),
            dim=_dim(config),
            text_context=context,
            revision=getattr(config, "_commit_hash", None),
            **_preprocessing(name, processor),
        )
    where = resolve_device(device)
    dtype = resolve_dtype(precision, where)
    _move(model, where, dtype)
    if tokenizer is None:
        # The class token after the last norm, which the documentation of all three models uses as the image's feature.
        return TorchImageEncoder(
            spec, lambda pixels: model(pixel_values=pixels).pooler_output, device=where, dtype=dtype
        )
    tokenize = _tokenize_siglip if config.model_type == "siglip" else _tokenize

    def image_features(pixels_BCHW: torch.Tensor) -> torch.Tensor:
        return _pooled(model.get_image_features(pixel_values=pixels_BCHW))

    def text_features(texts: list[str]) -> torch.Tensor:
        return _pooled(model.get_text_features(**tokenize(tokenizer, texts, context).to(where)))

    def knows(text: str) -> bool:
        # CLIP's tokens are bytes, so it knows every text.
        return config.model_type == "clip" or has_known(tokenizer.tokenize(text), tokenizer.unk_token)

    return TorchDualEncoder(spec, image_features, text_features, device=where, dtype=dtype, knows=knows)


FAMILY = EncoderFamily(
    name="hf",
    weights="a model repository or folder of transformers (clip, chinese_clip, siglip, dinov2 …)",
    packages=("transformers",),
    requirement=_REQUIREMENT,
    load=load,
)


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Turns what loading raises into one sentence."""
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        raise InputError(
            f"encoder {name!r} needs a package that is not installed ({_reason(error)}); run: pip install "
            f'"{_REQUIREMENT}"'
        ) from error
    except Exception as error:  # transformers may raise anything about files that a stranger has written
        if "trust_remote_code" in str(error):
            raise InputError(
                f"encoder {name!r} comes with Python code of its own (auto_map in its settings), and diantu runs no "
                f"code of a model; give a model of one of these types: {', '.join(_MODELS)}"
            ) from error
        raise InputError(
            f"encoder {name!r} cannot be loaded ({_reason(error)}); give a folder with config, weights, preprocessor "
            "and tokenizer, or a repository that this machine can reach"
        ) from error


def _from_pretrained(name: str, weights: str) -> tuple[Any, Any, Any, Any]:
    """The configuration, the model in fp32, its image processor, and its tokenizer or None."""
    import transformers

    # Else transformers asks a service to convert weights that are no safetensors, in a thread, on the hub.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    config = transformers.AutoConfig.from_pretrained(weights, trust_remote_code=False)
    _check_type(name, config.model_type)
    check_settings(f"encoder {name!r}", weights)
    # The model comes last: it is the dearest, and a package that one of the others needs may be missing.
    processor = transformers.AutoImageProcessor.from_pretrained(weights, trust_remote_code=False)
    tokenizer = None
    if config.model_type in _DUAL:
        tokenizer = transformers.AutoTokenizer.from_pretrained(weights, trust_remote_code=False)
    model = _model(f"encoder {name!r}", getattr(transformers, _MODELS[config.model_type]), config, weights)
    return config, model, processor, tokenizer


def _model(what: str, model_class: Any, config: Any, weights: str) -> Any:
    import torch

    check_weights(what, model_class, config, weights)
    model, found = model_class.from_pretrained(
        weights, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
    )
    if missing := sorted(found["missing_keys"]):  # transformers fills them with random numbers
        raise InputError(f"{what} lacks {len(missing)} tensors, for example {missing[0]}; is the download complete?")
    check_finite(what, model.state_dict())
    return model.eval()


def _check_type(name: str, model_type: str) -> None:
    if model_type == "siglip2":
        # NaFlex: up to 256 patches in the image's own shape. Given a square, the model returns other vectors.
        raise InputError(
            f"{name!r} is a NaFlex model (type 'siglip2'), which takes images in their own shape instead of squares; "
            "this is not supported; give SigLIP 2 of a fixed resolution, for example "
            "hf:google/siglip2-base-patch16-256"
        )
    if model_type not in _MODELS:
        allowed = ", ".join(_MODELS)
        raise InputError(f"{name!r} is a model of type {model_type!r}, which is not supported; give one of: {allowed}")
    if model_type == "dinov3_vit":
        require(name, _REQUIREMENT, "torchvision")  # transformers has only a torchvision preprocessor for this type


def _reason(error: Exception) -> str:
    return " ".join(first_line(error).split())


def _dim(config: Any) -> int:
    if config.model_type in _IMAGES_ONLY:
        return config.hidden_size
    return config.text_config.projection_size if config.model_type == "siglip" else config.projection_dim


def _move(model: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Converts weights but not buffers to `dtype`, like transformers: DINOv3's rotary frequencies stay exact."""
    model.to(device)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def _pooled(output: Any) -> torch.Tensor:
    """The features, which some releases of transformers wrap in an output object."""
    import torch

    return output if isinstance(output, torch.Tensor) else output.pooler_output


def _text_context(config: Any) -> int:
    return int(_TEXT_CONTEXT.get(config.model_type) or config.text_config.max_position_embeddings)


def _tokenize(tokenizer: Any, texts: list[str], context: int) -> Any:
    from .torch_encoder import warn_of_cuts

    warn_of_cuts((len(ids) for ids in tokenizer(texts)["input_ids"]), context)
    return tokenizer(texts, padding=True, truncation=True, max_length=context, return_tensors="pt")


def _tokenize_siglip(tokenizer: Any, texts: list[str], context: int) -> Any:
    """Lower case, padded to the full context, without a mask: SigLIP was trained so, and attends to the padding.

    SigLIP 2 of a fixed resolution uses Gemma's tokenizer, which declares `do_lower_case` but ignores it:
    https://github.com/google-research/big_vision/issues/187. A mask would hide the padding; the published tokenizers
    return none, but others do: https://github.com/huggingface/transformers/pull/26522.
    """
    from .torch_encoder import warn_of_cuts

    if tokenizer.init_kwargs.get("do_lower_case", True):
        texts = [text.lower() for text in texts]
    warn_of_cuts((len(ids) for ids in tokenizer(texts)["input_ids"]), context)
    return tokenizer(
        texts,
        padding="max_length",
        truncation=True,
        max_length=context,
        return_attention_mask=False,
        return_tensors="pt",
    )


def _preprocessing(name: str, processor: Any) -> PreprocessingFields:
    """The processor's settings under our names. Each one decides the vectors, so none is guessed."""
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
    interpolation: Any = Image.Resampling(processor.resample).name.lower()
    if interpolation not in get_args(Interpolation):
        allowed = ", ".join(get_args(Interpolation))
        raise InputError(
            f"the preprocessing of {name!r} resizes with {interpolation}, which is not supported; supported: {allowed}"
        )
    side = size["height"] if squash else size["shortest_edge"]
    if not 1 <= max(side, crop.get("height", 1)) <= _LARGEST:
        raise InputError(f"the preprocessing of {name!r} makes images of {side} pixels; up to {_LARGEST} are supported")
    red, green, blue = (float(value) for value in processor.image_mean)
    red_std, green_std, blue_std = (float(value) for value in processor.image_std)
    return {
        "image_size": crop["height"] if cropped else side,
        "resize": "squash" if squash else "shortest_edge_crop",
        "resize_size": side,
        "interpolation": interpolation,
        "resizer": resizer_for(interpolation),
        "mean": (red, green, blue),
        "std": (red_std, green_std, blue_std),
    }

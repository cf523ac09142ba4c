"""Chinese-CLIP through its own package: five published models by name, or a local checkpoint of the same shape."""

from __future__ import annotations

import contextlib
import json
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...datasets.errors import InputError
from .family import EncoderFamily
from .spec import EncoderSpec, ImageEncoder, Precision

if TYPE_CHECKING:
    import torch

_CONTEXT = 52  # tokens, including the two that mark the beginning and the end
_CACHE = Path("~/.cache/clip").expanduser()  # where cn_clip itself keeps its downloads


def load(name: str, weights: str, *, device: str, precision: Precision) -> ImageEncoder:
    """Loads a model of cn_clip; `weights` is its name there or the path of a `.pt` file."""
    from cn_clip import clip
    from cn_clip.clip.utils import create_model

    from .torch_encoder import TorchDualEncoder, has_known, resolve_device, resolve_dtype, warn_of_cuts, weights_sha256

    state = _state_dict(name, _checkpoint(name, weights))
    architecture, resolution = _architecture(name, state)
    with contextlib.redirect_stdout(sys.stderr):  # it prints its configuration, but stdout is for results
        model = create_model(architecture)
    missing = model.load_state_dict(state, strict=False).missing_keys
    if missing:
        raise InputError(
            f"{weights} lacks {len(missing)} tensors of {architecture}, for example {missing[0]}; is it complete?"
        )
    # cn_clip returns models in training mode, in which dropout makes every vector different.
    model = model.float().eval()

    spec = EncoderSpec(
        name=name,
        weights=weights,
        weights_sha256=weights_sha256(model.state_dict()),
        dim=model.text_projection.shape[1],
        image_size=resolution,
        resize="squash",
        resize_size=resolution,
        interpolation="bicubic",
        resizer="torch",
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
        text_context=_CONTEXT,
        licence="MIT" if weights in clip.available_models() else None,
    )
    where = resolve_device(device)
    dtype = resolve_dtype(precision, where)
    model.to(where, dtype)

    def text_features(texts: list[str]) -> torch.Tensor:
        # `clip.tokenize` cuts without a warning; two tokens mark the beginning and the end.
        warn_of_cuts((len(model.tokenizer.tokenize(text)) + 2 for text in texts), _CONTEXT)
        return model.encode_text(clip.tokenize(texts, context_length=_CONTEXT).to(where))

    def knows(text: str) -> bool:
        return has_known(model.tokenizer.tokenize(text), "[UNK]")

    return TorchDualEncoder(spec, model.encode_image, text_features, device=where, dtype=dtype, knows=knows)


FAMILY = EncoderFamily(
    name="cn_clip",
    weights="ViT-B-16, ViT-L-14, ViT-L-14-336, ViT-H-14, RN50 or the path of a .pt file",
    packages=("cn_clip",),
    requirement="diantu[cn-clip]",
    load=load,
)


def _checkpoint(name: str, weights: str) -> Path:
    from cn_clip import clip
    from cn_clip.clip.utils import _download

    if weights in clip.available_models():
        try:
            return Path(_download(weights, str(_CACHE)))
        except Exception as error:  # the hub's client may raise anything if it is offline or refused
            reason = " ".join(str(error).split("\n")[0].split())
            raise InputError(
                f"the weights of {name!r} cannot be downloaded ({reason}); put the .pt file into {_CACHE}, or give its "
                "path as cn_clip:<path of the .pt file>"
            ) from error
    path = Path(weights).expanduser()
    if not path.is_file():
        models = ", ".join(clip.available_models())
        raise InputError(f"{weights!r} is neither a model of cn_clip nor a file; give one of {models}, or a .pt file")
    return path


def _state_dict(name: str, path: Path) -> dict[str, torch.Tensor]:
    import torch

    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise InputError(f"{path} of encoder {name!r} cannot be loaded safely as a checkpoint: {error}") from error
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else {}
    state = {key.removeprefix("module."): value for key, value in state.items()}
    if "text_projection" not in state:
        raise InputError(f"{path} has no weights of Chinese-CLIP (no tensor text_projection)")
    return {key: value for key, value in state.items() if "bert.pooler" not in key}


def _architecture(name: str, state: Mapping[str, torch.Tensor]) -> tuple[str, int]:
    """The configuration of the package that fits a checkpoint's shapes: ("ViT-B-16@RoBERTa-…", 224)."""
    import cn_clip.clip

    configs = Path(cn_clip.clip.__file__).parent / "model_configs"
    vision: tuple[str, int] | None = None
    text: str | None = None
    for path in sorted(configs.glob("*.json")):
        config = json.loads(path.read_text())
        if "vision_width" in config and _vision_fits(config, state):
            vision = path.stem, config["image_resolution"]
        if "text_hidden_size" in config and _text_fits(config, state):
            text = path.stem
    if vision is None or text is None:
        raise InputError(f"the checkpoint of {name!r} does not have the shape of any model of Chinese-CLIP")
    return f"{vision[0]}@{text}", vision[1]


def _vision_fits(config: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> bool:
    if "visual.proj" not in state:  # a ResNet; the package has one
        return not isinstance(config["vision_layers"], int) and "visual.layer1.0.conv1.weight" in state
    patch, width = config["vision_patch_size"], config["vision_width"]
    if not isinstance(config["vision_layers"], int) or patch is None:
        return False
    positions = (config["image_resolution"] // patch) ** 2 + 1
    return (
        tuple(state["visual.conv1.weight"].shape) == (width, 3, patch, patch)
        and tuple(state["visual.positional_embedding"].shape) == (positions, width)
        and tuple(state["visual.proj"].shape) == (width, config["embed_dim"])
    )


def _text_fits(config: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> bool:
    layers, width = config["text_num_hidden_layers"], config["text_hidden_size"]
    return (
        tuple(state["bert.embeddings.word_embeddings.weight"].shape) == (config["vocab_size"], width)
        and f"bert.encoder.layer.{layers - 1}.output.dense.weight" in state
        and f"bert.encoder.layer.{layers}.output.dense.weight" not in state
    )

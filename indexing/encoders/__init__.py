"""Encoders by name: `family:weights`, say `conse`, `cn_clip:ViT-B-16`, `hf:openai/clip-vit-base-patch32`."""

from __future__ import annotations

import importlib

from ...datasets.errors import InputError
from .spec import EncoderSpec, ImageEncoder, TextEncoder

__all__ = ["FAMILIES", "EncoderSpec", "ImageEncoder", "TextEncoder", "load_encoder"]

# Family → (module, what may stand behind the colon). Modules are imported when asked for: they need torch and more.
FAMILIES = {
    "conse": ("conse", ""),
    "cn_clip": ("cn_clip", "ViT-B-16, ViT-L-14, ViT-L-14-336, ViT-H-14, RN50 or the path of a .pt file"),
    "hf": ("transformers_clip", "a model repository or folder of transformers (clip, chinese_clip, siglip, dinov2 …)"),
    "open_clip": ("open_clip", "an architecture/a tag of its weights or the path of a checkpoint"),
}


def load_encoder(name: str, *, device: str = "auto", precision: str = "auto") -> ImageEncoder:
    """Loads an encoder with its weights; it is also a `TextEncoder` if the model has a text side.

    Args:
        name: `family` or `family:weights`.
        device: `auto` (the first GPU, else the CPU), or a device as torch names it.
        precision: `auto` (bf16 where the hardware multiplies it, else fp32), `fp32` or `bf16`.

    Raises:
        InputError: if the name is not known, a package is missing, or the weights cannot be had.
    """
    family, colon, weights = name.partition(":")
    module, argument = FAMILIES.get(family, ("", ""))
    if not module or bool(argument) != bool(weights) or (colon and not weights):
        raise InputError(f"encoder {name!r} is not known; give one of: {_usage()}")
    loader = importlib.import_module(f".{module}", __package__)
    return loader.load(name, weights, device=device, precision=precision)


def _usage() -> str:
    return "; ".join(f"{family}:<{argument}>" if argument else family for family, (_, argument) in FAMILIES.items())

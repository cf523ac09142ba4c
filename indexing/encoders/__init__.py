"""Encoders by name: `family:weights`, for example `conse`, `cn_clip:ViT-B-16`, `hf:openai/clip-vit-base-patch32`.

To use an encoder of your own in Python, pass the object itself to `embed`, `Gallery.open`, `build_index` or `evaluate`:
any object that satisfies `ImageEncoder` (and `TextEncoder`, to search by text). To load it by name, from the command
line and in several processes, declare an `EncoderFamily`. Encoders that run in torch can build on
`torch_encoder.TorchImageEncoder` and `TorchDualEncoder`.
"""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path

from ...datasets.errors import InputError
from . import entry_points
from .family import EncoderFamily, LoadEncoder
from .late_images import LateImages
from .packages import require
from .places import check_place
from .preprocessing import Preprocess, preprocess
from .runtimes import Runtime, as_runtime, check_runtime
from .spec import EncoderSpec, ImageEncoder, Interpolation, Precision, Resize, Resizer, TextEncoder

__all__ = [
    "EncoderFamily",
    "EncoderSpec",
    "ImageEncoder",
    "Interpolation",
    "LoadEncoder",
    "Precision",
    "Preprocess",
    "Resize",
    "Resizer",
    "Runtime",
    "TextEncoder",
    "as_runtime",
    "load_encoder",
    "preprocess",
]

# Family → the module here that declares it as `FAMILY`; it is imported when a name needs it.
_BUILT_IN = {
    "conse": "conse",
    "cn_clip": "cn_clip",
    "hf": "transformers_clip",
    "open_clip": "open_clip",
}


def load_encoder(
    name: str,
    *,
    device: str = "auto",
    precision: Precision = "auto",
    runtime: Runtime = "auto",
    named_by: Path | None = None,
) -> ImageEncoder:
    """Loads an encoder with its weights; it is also a `TextEncoder` if the model has a text side.

    Args:
        name: `family` or `family:weights`.
        device: `auto` (the first GPU, else the CPU), or a device as torch names it.
        precision: `auto` (bf16 if the hardware multiplies it, else fp32), `fp32` or `bf16`.
        runtime: what computes the image side: `torch`, `compiled`, `onnxruntime`, `openvino`, `tensorrt`, or `auto`:
            torch, unless `diantu bench-encoder` has measured on this machine that another one is at least 15 % faster.
        named_by: the gallery that names the encoder, if the caller did not; it may name only some places, see `places`.

    Raises:
        InputError: if the name is not known, a package is missing, the weights cannot be loaded, the gallery may not
            name them, or the runtime cannot be used or gives other vectors than torch.
    """
    prefix, colon, weights = name.partition(":")
    family = _family(prefix)
    if family is None or not family.takes(colon, weights):
        raise InputError(f"encoder {name!r} is not known; give one of: {_usage()}")
    if named_by is not None:
        check_place(name, weights, named_by)
    require(name, family.requirement, *family.packages)
    if runtime not in ("auto", "torch"):
        check_runtime(runtime, device, precision)  # before the weights are read
    load = partial(family.load, name, weights)
    encoder = load(device=device, precision=precision)
    if runtime == "torch":
        return encoder

    def in_runtime(images: ImageEncoder) -> ImageEncoder:
        from .runtimes.images import with_runtime  # imports torch

        return with_runtime(images, runtime, precision, partial(load, device="cpu", precision="fp32"))

    if not isinstance(encoder, LateImages):
        return in_runtime(encoder) if runtime != "auto" or hasattr(encoder, "encode_images_by") else encoder
    late = encoder.with_images(in_runtime)
    if runtime != "auto":
        late.prepare()
    return late


def _family(name: str) -> EncoderFamily | None:
    """The family of a name. One that is built in cannot be replaced by another package's."""
    if name in _BUILT_IN:
        return importlib.import_module(f".{_BUILT_IN[name]}", __package__).FAMILY
    return entry_points.family_of(name)


def _usage() -> str:
    """All families. Those of other packages are not imported for it, because one that is broken would hide the rest."""
    built_in = [family.usage for name in _BUILT_IN if (family := _family(name))]
    return "; ".join((*built_in, *entry_points.usage()))

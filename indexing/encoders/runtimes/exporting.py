"""The image side of an encoder as an ONNX file: exported once, kept beside the weights under the fingerprint.

    <folder of the weights>/diantu-runtimes/<fingerprint>/export.json      versions, and the sha256 of the others
                                                          image.onnx
                                                          image.onnx.data  the weights

Where that folder cannot be written to, or the weights came from a package or a hub, the user's cache takes its place.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ....datasets.errors import InputError, first_line
from ....datasets.files import exclusive, open_regular, sha256_of_file, write_json, writing
from ..packages import require_packages
from ..spec import EncoderSpec
from ..torch_encoder import TorchImageEncoder
from .machine import user_cache

log = logging.getLogger(__name__)

_FOLDER = "diantu-runtimes"
_MODEL, _WEIGHTS, _RECORD = "image.onnx", "image.onnx.data", "export.json"
_FORMAT = 1
_OPSET = 18  # the one that torch's exporter writes without a conversion
_MOST_BYTES = 1 << 16  # of export.json, which comes with the weights
_PATIENCE = 1800.0  # seconds for another process to export


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An exported model: its file, and the sha256 over all its files."""

    path: Path
    sha256: str


def exported(spec: EncoderSpec, load_fp32: Callable[[], TorchImageEncoder]) -> Exported:
    """The exported image side of an encoder; it is exported now if there is no file, or one that is damaged.

    Args:
        spec: the encoder's.
        load_fp32: loads the encoder in fp32 on the CPU.

    Raises:
        InputError: if a package is missing, or the model has a part that cannot be exported.
        FileError: if neither the folder of the weights nor the user's cache can be written to.
    """
    beside = _folder_of_weights(spec)
    cached = user_cache() / "runtimes" / spec.fingerprint
    folders = [cached] if beside is None else [beside / _FOLDER / spec.fingerprint, cached]
    for folder in folders:
        if found := _valid(folder, spec):
            return found
    is_writable = beside is not None and os.access(beside, os.W_OK)
    if beside is not None and not is_writable:
        log.info("%s cannot be written to, so the exported model is kept in %s", beside, cached)
    folder = folders[0] if is_writable else cached
    with exclusive(folder, "lock", patience=_PATIENCE, what="process"):
        return _valid(folder, spec) or _export(folder, spec, load_fp32)


def _folder_of_weights(spec: EncoderSpec) -> Path | None:
    """The folder on this machine that holds the weights; None if they came from a package or a hub."""
    # open_clip's are `architecture/path`.
    text = spec.weights.partition("/")[2] if spec.name.startswith("open_clip:") else spec.weights
    path = Path(text).expanduser()
    if text and path.is_file():
        return path.parent
    return path if text and (path / "config.json").is_file() else None


def _valid(folder: Path, spec: EncoderSpec) -> Exported | None:
    """What a folder holds, if it is complete and of this encoder. It may come from a stranger, with the weights."""
    try:
        with open_regular(folder / _RECORD) as file:
            record = json.loads(file.read(_MOST_BYTES))
        if record["format"] != _FORMAT or record["fingerprint"] != spec.fingerprint:
            return None
        sums = {name: sha256_of_file(folder / name) for name in (_MODEL, _WEIGHTS)}
        if sums == record["sha256"]:
            return Exported(path=folder / _MODEL, sha256="".join(sums.values()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    log.warning("the exported model in %s is damaged, so it is exported again", folder)
    return None


def _export(folder: Path, spec: EncoderSpec, load_fp32: Callable[[], TorchImageEncoder]) -> Exported:
    require_packages("exporting a model", "diantu[onnx]", "onnx", "onnxscript")
    encoder = load_fp32()
    log.info("exporting the image side of %s to %s", spec.name, folder)
    temporary = folder / "new.tmp"  # the two files name each other, so they get their names in a folder of their own
    with writing(folder / _MODEL):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            _program(encoder).save(temporary / _MODEL, external_data=True)
            (temporary / _WEIGHTS).touch()  # a model of a few small tensors has them all in one file
            for name in (_WEIGHTS, _MODEL):
                (temporary / name).replace(folder / name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    sums = {name: sha256_of_file(folder / name) for name in (_MODEL, _WEIGHTS)}
    versions = {name: version(name) for name in ("torch", "onnx", "onnxscript")}
    write_json(
        folder / _RECORD,
        {"format": _FORMAT, "fingerprint": spec.fingerprint, "opset": _OPSET, "versions": versions, "sha256": sums},
    )
    return Exported(path=folder / _MODEL, sha256="".join(sums.values()))


def _program(encoder: TorchImageEncoder) -> Any:
    """The image side as a graph whose first axis has any length."""
    size = encoder.spec.image_size
    pixels_BCHW = torch.zeros(2, 3, size, size)
    encoder.image_features(pixels_BCHW)  # what is loaded at the first use must not be loaded by the exporter
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                _Images(encoder.image_features),
                (pixels_BCHW,),
                dynamo=True,
                opset_version=_OPSET,
                input_names=["pixels"],
                output_names=["features"],
                dynamic_shapes={"pixels_BCHW": {0: torch.export.Dim("batch")}},
                verbose=False,
            )
    except Exception as error:  # the exporter may raise anything about a model that it does not understand
        raise InputError(
            f"the image side of {encoder.spec.name} cannot be exported by torch {torch.__version__} "
            f"({first_line(error)}); give --runtime torch"
        ) from error
    assert program is not None, "the exporter of torch.export returns a program"
    return program


class _Images(torch.nn.Module):
    """A function as the module that the exporter wants."""

    def __init__(self, features: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self._features = features

    def forward(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        return self._features(pixels_BCHW)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's advice away: its warnings are about its own insides, and stdout is for results."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)

"""The image side of an encoder in another runtime, in place of torch's function."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import cache, partial

import torch

from ....datasets.errors import InputError
from ..late_images import image_side
from ..spec import EncoderSpec, ImageEncoder, Precision
from ..torch_encoder import TorchImageEncoder
from . import agreement, compiled
from .exporting import exported
from .kinds import Computed, Runtime, Session, kind_of, usable
from .table import chosen

log = logging.getLogger(__name__)


def with_runtime(
    encoder: ImageEncoder, runtime: Runtime, precision: Precision, load_fp32: Callable[[], ImageEncoder]
) -> ImageEncoder:
    """An encoder whose images are encoded by another runtime.

    A runtime that was named is opened and checked now. The one that `auto` takes is opened with the first images, so a
    search by text does not wait for it.

    Args:
        encoder: as it was loaded for torch, on the device and in the precision for its text side.
        runtime: what was asked for.
        precision: what was asked for.
        load_fp32: loads the same encoder in fp32 on the CPU.

    Raises:
        InputError: if a runtime that was named cannot be used, or its vectors differ from torch's.
    """
    if runtime == "torch":
        return encoder
    if not isinstance(encoder, TorchImageEncoder):
        if runtime == "auto":
            return encoder
        raise InputError(f"the encoder {encoder.spec.name} is no model of torch, so it cannot run in {runtime}")
    of_torch: Computed = "bf16" if encoder.dtype is torch.bfloat16 else "fp32"
    if runtime == "auto":
        if row := chosen(encoder.spec.fingerprint, encoder.device, precision, of_torch):
            images = RuntimeImages(encoder.spec, row.runtime, encoder.device, row.precision, load_fp32)
            encoder.encode_images_by(images, torch.float32)
        return encoder
    if runtime == compiled.NAME:
        images = compiled.compiled(encoder, lambda: torch_images(load_fp32()))
        encoder.encode_images_by(images, encoder.dtype)
        return encoder
    # Where a runtime has a choice, `auto` is what it is for torch.
    computed = of_torch if of_torch in kind_of(runtime).precisions else "fp32"
    images = RuntimeImages(
        encoder.spec, runtime, encoder.device, computed if precision == "auto" else precision, load_fp32
    )
    images.prepare()
    encoder.encode_images_by(images, torch.float32)
    return encoder


class RuntimeImages:
    """Normalised pixels → features. The model is exported, opened and checked at the first use."""

    def __init__(
        self,
        spec: EncoderSpec,
        runtime: str,
        device: torch.device,
        precision: Computed,
        load_fp32: Callable[[], ImageEncoder],
    ) -> None:
        """Opens nothing yet.

        Args:
            spec: the encoder's.
            runtime: the runtime's name.
            device: where it runs.
            precision: in which it computes.
            load_fp32: loads the encoder in fp32 on the CPU. It is called only to export the model, or to check it.
        """
        self._spec = spec
        self._runtime = runtime
        self._device = device
        self._precision: Computed = precision
        self._load_fp32 = load_fp32
        self._session: Session | None = None
        self._opening = threading.Lock()

    def __call__(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        """Raises what `prepare` raises, at the first call."""
        return _run(self.prepare(), pixels_BCHW)

    def prepare(self) -> Session:
        """Exports, opens and checks the model, unless that is done.

        Raises:
            InputError: if the runtime cannot be used, the model cannot be exported or opened, or its vectors differ
                from torch's.
            FileError: if the exported model cannot be written.
        """
        with self._opening:
            if self._session is None:
                kind = usable(self._runtime, self._device, self._precision)
                load_fp32 = cache(lambda: torch_images(self._load_fp32()))  # for the export and for the check
                model = exported(self._spec, load_fp32)
                session = kind.open(model.path, self._device, self._precision)
                # Normalised on the CPU, where the reference is.
                by_session = TorchImageEncoder(
                    self._spec, partial(_run, session), device=torch.device("cpu"), dtype=torch.float32
                )
                of_what = {"sha256": model.sha256}
                agreement.check(by_session, kind.name, self._device, self._precision, of_what, load_fp32)
                log.info("images for %s are encoded by %s in %s", self._spec.name, self._runtime, self._precision)
                self._session = session
            return self._session


def torch_images(encoder: ImageEncoder) -> TorchImageEncoder:
    """The image side of an encoder that torch computes.

    Raises:
        InputError: if another library computes it.
    """
    images = image_side(encoder)
    if not isinstance(images, TorchImageEncoder):
        raise InputError(
            f"the encoder {encoder.spec.name} is no model of torch, so no other runtime can encode with it"
        )
    return images


def _run(session: Session, pixels_BCHW: torch.Tensor) -> torch.Tensor:
    """Features by a session, on the device of the pixels."""
    features_BD = session(pixels_BCHW.float().contiguous().cpu().numpy())
    return torch.from_numpy(features_BD).to(pixels_BCHW.device)

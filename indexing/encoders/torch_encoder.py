"""What all encoders that run in torch share: device, precision, normalisation, unit vectors."""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from typing_extensions import Self

from ...datasets.errors import InputError
from .preprocessing import Preprocess
from .spec import EncoderSpec, Resizer, as_precision

log = logging.getLogger(__name__)

_TEXT_BATCH = 256
# Two cores encode batches of 16 in 0.65 (ViT-B/32 in bf16) to 0.84 (conse) of the time if each core has a batch of its
# own, instead of half of one batch. More than so many batches at once would need more memory.
_MOST_BESIDE = 4


class TorchImageEncoder:
    """An image encoder whose model is a function from normalised pixels to features of any length, `emb_BD`."""

    def __init__(
        self,
        spec: EncoderSpec,
        image_features: Callable[[torch.Tensor], torch.Tensor],
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.spec = spec
        self.preprocess = Preprocess(spec)
        self._image_features = image_features
        self._device = device
        self._dtype = dtype
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._runs_beside = device.type == "cpu"
        self._mean = torch.tensor(spec.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(spec.std, device=device).view(1, 3, 1, 1)

    @property
    def device(self) -> torch.device:
        """Where pixels are normalised, and torch computes."""
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        """Of the normalised pixels."""
        return self._dtype

    @property
    def image_features(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The function from normalised pixels to features."""
        return self._image_features

    def encode_images_by(self, image_features: Callable[[torch.Tensor], torch.Tensor], dtype: torch.dtype) -> None:
        """Replaces that function by another runtime's, which takes normalised pixels of a type."""
        self._image_features = image_features
        self._dtype = dtype
        self._runs_beside = False  # other runtimes have threads of their own

    @property
    def num_at_once(self) -> int:
        """See `StartsImages`. A CPU computes small batches beside each other faster than one by all cores."""
        return _num_beside() if self._runs_beside else 1

    def with_resizer(self, resizer: Resizer) -> Self:
        """See `Resizable`. The weights are shared."""
        other = copy.copy(self)
        other.spec = replace(self.spec, resizer=resizer)
        other.preprocess = Preprocess(other.spec)
        return other

    def encode_images(self, pixels_BCHW: torch.Tensor) -> np.ndarray:
        """See `ImageEncoder`."""
        return self._on_cpu(pixels_BCHW) if self._copies is None else self.start_images(pixels_BCHW)()

    @torch.inference_mode()
    def start_images(self, pixels_BCHW: torch.Tensor) -> Callable[[], np.ndarray]:
        """See `StartsImages`. On a CPU, batches are computed beside each other, see `num_at_once`.

        On a GPU, pinned pixels are copied while the batch before is computed, and vectors while the next one is.
        """
        if self._copies is None:
            if self.num_at_once > 1:
                return _beside().submit(self._on_cpu, pixels_BCHW).result
            emb_BD = self._on_cpu(pixels_BCHW)
            return lambda: emb_BD
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._copies):
            on_device = pixels_BCHW.to(self._device, non_blocking=True)
        computing.wait_stream(self._copies)
        on_device.record_stream(computing)  # its memory is not for the next copy before it was read
        computed_BD = self._encode(on_device)
        copied_BD = torch.empty(computed_BD.shape, dtype=computed_BD.dtype, pin_memory=True)
        copied_BD.copy_(computed_BD, non_blocking=True)
        done = computing.record_event()

        def vectors(_pixels: torch.Tensor = pixels_BCHW) -> np.ndarray:  # which must live until they are copied
            done.synchronize()
            return copied_BD.numpy()

        return vectors

    @torch.inference_mode()
    def _on_cpu(self, pixels_BCHW: torch.Tensor) -> np.ndarray:
        return self._encode(pixels_BCHW.to(self._device)).cpu().numpy()

    def _encode(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        """Pixels on the device, uint8, to unit vectors there, float32."""
        pixels = pixels_BCHW.float().div_(255).sub_(self._mean).div_(self._std)
        pixels = pixels.to(self._dtype).contiguous(memory_format=torch.channels_last)
        return unit_norm(self._image_features(pixels).float())


@cache
def _num_beside() -> int:
    """Batches that this process computes beside each other on its CPU: their memory is bounded, too."""
    return min(_MOST_BESIDE, torch.get_num_threads())


@cache
def _beside() -> ThreadPoolExecutor:
    """The threads for them, which share the cores. All encoders of this process use them."""
    count = _num_beside()
    cores = torch.get_num_threads() // count
    return ThreadPoolExecutor(count, "encoder", initializer=torch.set_num_threads, initargs=(cores,))


class TorchDualEncoder(TorchImageEncoder):
    """An image encoder that also encodes texts, by a function from texts to features."""

    def __init__(
        self,
        spec: EncoderSpec,
        image_features: Callable[[torch.Tensor], torch.Tensor],
        text_features: Callable[[list[str]], torch.Tensor],
        *,
        device: torch.device,
        dtype: torch.dtype,
        knows: Callable[[str], bool] = lambda text: True,
    ) -> None:
        super().__init__(spec, image_features, device=device, dtype=dtype)
        self._text_features = text_features
        self._knows = knows

    def knows(self, text: str) -> bool:
        """See `KnowsTexts`."""
        return self._knows(text)

    @torch.inference_mode()
    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """See `TextEncoder`."""
        if not texts:
            return np.zeros((0, self.spec.dim), np.float32)
        batches = (texts[start : start + _TEXT_BATCH] for start in range(0, len(texts), _TEXT_BATCH))
        return np.concatenate([unit_norm(self._text_features(batch).float()).cpu().numpy() for batch in batches])


def unit_norm(emb_BD: torch.Tensor) -> torch.Tensor:
    """Scales rows to length 1; a row of zeros stays zero."""
    return torch.nn.functional.normalize(emb_BD, dim=-1)


def has_known(tokens: Iterable[str], unknown: str | None) -> bool:
    """Whether a tokenizer knows a part of a text, given its tokens; SentencePiece writes a space as `▁`."""
    return any(token != unknown and token.strip("▁ ") for token in tokens)


def warn_of_cuts(lengths: Iterable[int], context: int) -> None:
    """Warns how many texts, given by their numbers of tokens, are cut: what was cut off is not searched."""
    too_long = [length > context for length in lengths]
    if any(too_long):
        log.warning(
            "%d of %d texts are longer than %d tokens; the rest of them is not searched",
            sum(too_long),
            len(too_long),
            context,
        )


def weights_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """sha256 over names, shapes, types and bytes of a state dict; independent of the file format it was read from."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def resolve_device(name: str) -> torch.device:
    """`auto` → the first GPU, else the CPU; any other name as in torch.

    Raises:
        InputError: if torch does not know the device, or it is not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used ({reason}); give auto, cpu, cuda or cuda:<number>") from error
    return device


def resolve_dtype(precision: str, device: torch.device) -> torch.dtype:
    """`auto` → bf16 on GPUs and on CPUs that multiply it in hardware (AVX512-BF16, AMX), else fp32.

    Raises:
        InputError: if the precision is not known.
    """
    chosen = as_precision(precision)
    if chosen == "auto":
        chosen = "bf16" if device.type == "cuda" or _cpu_has_bf16() else "fp32"
    return torch.bfloat16 if chosen == "bf16" else torch.float32


def _cpu_has_bf16() -> bool:
    # Older releases of torch have no such table; fp32, which is always correct, is used there.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))

"""The image side compiled by torch for the device at hand: in the encoder's own precision, without an export.

Compiling takes about half a minute for each size of a batch. So the last batches of shards, which are smaller, are
padded to a size that is compiled already.

Shapes: B batch, C channels (3), H height, W width, D features.
"""

from __future__ import annotations

import copy
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable

import torch

from ....datasets.errors import InputError, first_line
from ..torch_encoder import TorchImageEncoder
from . import agreement
from .machine import user_cache

log = logging.getLogger(__name__)

NAME = "compiled"
# Compiled sizes of batches. They are powers of two, so a job cannot need more.
_MOST_SIZES = 32
_CACHE = "TORCHINDUCTOR_CACHE_DIR"


class CompiledImages:
    """Normalised pixels → features. A size of a batch is compiled when it is first needed. Threads may share it.

    Attributes:
        seconds: what the first batch of each size took, all together: nearly all of it is for compiling.
    """

    def __init__(self, encoder: TorchImageEncoder) -> None:
        """Compiles nothing yet; `encoder` is left as it is."""
        self.seconds = 0.0
        self._name = encoder.spec.name
        self._compiled = torch.compile(encoder.image_features, dynamic=False, fullgraph=True)
        self._sizes: list[int] = []
        self._compiling = threading.Lock()

    def __call__(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        """Features `emb_BD`.

        Raises:
            InputError: if torch cannot compile the model here.
        """
        count = len(pixels_BCHW)
        with self._compiling:
            size = next((size for size in self._sizes if size >= count), None)
            if size is None:
                return self._first(pixels_BCHW)
        return self._compiled(_padded(pixels_BCHW, size))[:count]

    def _first(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        """The features of a batch that is larger than all before it."""
        _keep_in_users_cache()
        from torch._dynamo import config, exc  # a second, which only those pay who compile

        count, started = len(pixels_BCHW), time.perf_counter()
        size = 1 << (count - 1).bit_length()
        try:
            with config.patch(recompile_limit=_MOST_SIZES):
                features_BD = self._compiled(_padded(pixels_BCHW, size))[:count]
        except exc.TorchDynamoException as error:
            raise InputError(
                f"torch cannot compile the images of {self._name} here ({first_line(error)}); give --runtime torch"
            ) from error
        self._sizes = sorted([*self._sizes, size])
        self.seconds += time.perf_counter() - started
        log.info("compiled for batches of %d in %.0f s", size, time.perf_counter() - started)
        return features_BD


def compiled(encoder: TorchImageEncoder, load_fp32: Callable[[], TorchImageEncoder]) -> CompiledImages:
    """The compiled function of an encoder, compared with torch in fp32.

    Args:
        encoder: on its device, in its precision.
        load_fp32: loads the encoder in fp32 on the CPU.

    Raises:
        InputError: if torch cannot compile the model here, or its vectors differ.
    """
    encoder.encode_images(agreement.photographs(encoder, 1))  # what a model loads at its first use is not compiled
    images = CompiledImages(encoder)
    candidate = copy.copy(encoder)
    candidate.encode_images_by(images, encoder.dtype)
    precision = "bf16" if encoder.dtype is torch.bfloat16 else "fp32"
    agreement.check(candidate, NAME, encoder.device, precision, {}, load_fp32)
    return images


def _keep_in_users_cache() -> None:
    """Chooses where torch keeps what was compiled, unless the user did: its compiler notes its own choice there, too.

    That is a folder of /tmp, whose name others can know before it is made.
    """
    given = os.environ.get(_CACHE, "")
    if not given or given.startswith(os.path.join(tempfile.gettempdir(), "torchinductor_")):
        os.environ[_CACHE] = str(user_cache() / "runtimes" / "compiled")


def _padded(pixels_BCHW: torch.Tensor, size: int) -> torch.Tensor:
    """A batch with images of zeros behind it, so that it has a size."""
    missing = size - len(pixels_BCHW)
    if not missing:
        return pixels_BCHW
    zeros = pixels_BCHW.new_zeros((missing, *pixels_BCHW.shape[1:]))
    return torch.cat([pixels_BCHW, zeros]).contiguous(memory_format=torch.channels_last)

"""Whether a runtime gives torch's vectors: compared on bundled photographs before its first use on a machine.

The result is kept in the user's cache, for this encoder, these files, these versions and this processor. The exported
model may come with a stranger's weights, so nothing that lies beside it is believed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping

import numpy as np
import torch

from ....datasets import photos
from ....datasets.decoding.images import decode
from ....datasets.errors import InputError
from ....datasets.files import read_bytes, write_json
from ..spec import ImageEncoder
from ..torch_encoder import TorchImageEncoder
from .kinds import Computed
from .machine import machine, user_cache

# The worst cosine of a vector to torch's in fp32. What torch itself reaches in bf16 is 0.9999 for most models.
LEAST: dict[Computed, float] = {"fp32": 0.9999, "bf16": 0.999}
_NUM_PHOTOS = 16
_BATCH = 11  # the last batch is smaller: a model must take any number


def check(
    encoder: TorchImageEncoder,
    runtime: str,
    device: torch.device,
    precision: Computed,
    model: Mapping[str, str],
    load_fp32: Callable[[], TorchImageEncoder],
) -> None:
    """Compares a runtime with torch, unless this machine has done it before.

    Args:
        encoder: whose images the runtime encodes.
        runtime: its name.
        device: where it runs.
        precision: in which it computes.
        model: what else the result depends on, such as the checksum of an exported model.
        load_fp32: loads the encoder in fp32 on the CPU.

    Raises:
        InputError: if a vector differs by more than `LEAST` allows.
    """
    of_what = {"fingerprint": encoder.spec.fingerprint, **model}
    facts = {"runtime": runtime, "precision": precision, **of_what, **machine(device)}
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    path = user_cache() / "runtimes" / "checked" / f"{key}.json"
    try:
        cosine = float(json.loads(read_bytes(path))["cosine"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        cosine = worst_cosine(vectors(encoder), vectors(load_fp32()))
        write_json(path, {**facts, "cosine": cosine})
    if not cosine >= LEAST[precision]:
        raise InputError(
            f"the runtime {runtime} in {precision} gives other vectors than torch (worst cosine {cosine:.6f} on "
            f"{_NUM_PHOTOS} photographs; at least {LEAST[precision]} is needed); give --runtime torch"
            + (" or --precision fp32" if precision != "fp32" else "")
        )


def vectors(encoder: ImageEncoder) -> np.ndarray:
    """The vectors of the photographs that are compared: `emb_ND` float32."""
    batches = photographs(encoder, _NUM_PHOTOS).split(_BATCH)
    return np.concatenate([encoder.encode_images(pixels_BCHW) for pixels_BCHW in batches])


def worst_cosine(one_ND: np.ndarray, other_ND: np.ndarray) -> float:
    """The smallest cosine between unit vectors in the same rows; 0 where they cannot be compared."""
    if one_ND.shape != other_ND.shape:
        return 0.0
    cosines_N = np.einsum("nd,nd->n", one_ND.astype(np.float64), other_ND.astype(np.float64))
    return float(cosines_N.min()) if np.isfinite(cosines_N).all() else 0.0


def photographs(encoder: ImageEncoder, count: int) -> torch.Tensor:
    """Bundled photographs of all categories, preprocessed: `pixels_NCHW` uint8."""
    names = sorted(photos.rows())
    chosen = [names[at * len(names) // count] for at in range(count)]
    pixels = [encoder.preprocess(decode(read_bytes(photos.FOLDER / name))) for name in chosen]
    return torch.from_numpy(np.stack(pixels))

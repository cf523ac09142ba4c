"""On a CPU, batches are computed beside each other: each has its own vectors, and the same ones every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from diantu.indexing.encoders import load_encoder
from diantu.indexing.encoders.spec import StartsImages, num_at_once


def test_batches_beside_each_other_have_their_own_vectors(clip_folder: Path) -> None:
    encoder = load_encoder(f"hf:{clip_folder}", device="cpu", precision="fp32", runtime="torch")
    assert isinstance(encoder, StartsImages)
    assert num_at_once(encoder) == min(4, torch.get_num_threads())
    side = encoder.spec.image_size
    batches = [torch.randint(0, 256, (5, 3, side, side), dtype=torch.uint8) for _ in range(9)]
    rounds = [[encoder.start_images(pixels) for pixels in batches] for _ in range(2)]
    for pixels, first, second in zip(batches, *rounds, strict=True):
        vectors = first()
        np.testing.assert_array_equal(vectors, second())
        np.testing.assert_allclose(vectors, encoder.encode_images(pixels), atol=1e-5)
    assert not np.allclose(rounds[0][0](), rounds[0][1]())


def test_an_encoder_that_says_nothing_computes_one_batch_at_a_time(clip_folder: Path) -> None:
    encoder = load_encoder(f"hf:{clip_folder}", device="cpu", precision="fp32", runtime="onnxruntime")
    assert num_at_once(encoder) == 1  # it has threads of its own
    assert num_at_once(object()) == 1  # type: ignore[arg-type]

"""A service in a process of its own, for `bench_serve`: a gallery, and a text encoder of CLIP's size.

    python -m diantu.scripts.bench.service GALLERY

prints the service's URL when it is ready, and ends with its standard input.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import zlib
from pathlib import Path

import numpy as np

from ...indexing.encoders import EncoderSpec
from ...indexing.store.manifest import read_manifest

_CONTEXT, _END = 77, 49_407  # of CLIP; the vocabulary ends with the end of texts


class RandomClip:
    """The text side of CLIP ViT-B with random weights: the cost of real queries, without their meaning."""

    def __init__(self, spec: EncoderSpec) -> None:
        import torch
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection

        from ...indexing.encoders.torch_encoder import resolve_device, resolve_dtype

        self.spec = spec
        torch.manual_seed(0)
        self._device = resolve_device("auto")
        dtype = resolve_dtype("auto", self._device)
        config = CLIPTextConfig(projection_dim=spec.dim, eos_token_id=_END, bos_token_id=_END - 1, pad_token_id=_END)
        self._model = CLIPTextModelWithProjection(config).eval().to(self._device, dtype)

    def preprocess(self, rgb_HWC: np.ndarray) -> np.ndarray:
        """Images are not measured."""
        raise NotImplementedError

    def encode_images(self, pixels_BCHW: object) -> np.ndarray:
        """Images are not measured."""
        raise NotImplementedError

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """One token for each word, padded to the longest text."""
        import torch

        tokens = [
            [_END - 1, *(zlib.crc32(word.encode()) % (_END - 1) for word in text.split()), _END] for text in texts
        ]
        longest = min(max(map(len, tokens)), _CONTEXT)
        ids = torch.tensor([(each + [_END] * longest)[:longest] for each in tokens], device=self._device)
        with torch.inference_mode():
            emb_BD = self._model(input_ids=ids).text_embeds.float()
        return torch.nn.functional.normalize(emb_BD, dim=-1).cpu().numpy()


def main(gallery: Path) -> None:
    """Serves until standard input ends."""
    from ...search.service.server import Server
    from ...search.service.settings import Settings

    def wait() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
    encoder = RandomClip(read_manifest(gallery).spec)
    settings = Settings(galleries={"bench": gallery}, port=0)
    Server(settings, {"bench": encoder}, on_start=lambda url: print(url, flush=True)).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""An encoder whose image side is loaded with the first images: its texts do without torch, a second of import."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .preprocessing import Preprocess
from .spec import EncoderSpec, ImageEncoder, num_at_once, start_images

if TYPE_CHECKING:
    import torch

_TEXT_BATCH = 256


class LateImages:
    """Encodes texts at once, and images with an encoder that is loaded when it is needed. Threads may share it."""

    def __init__(
        self,
        spec: EncoderSpec,
        load_images: Callable[[], ImageEncoder],
        text_vectors: Callable[[list[str]], np.ndarray],
        *,
        knows: Callable[[str], bool],
    ) -> None:
        """Loads nothing yet.

        Args:
            spec: of both sides.
            load_images: loads the image side.
            text_vectors: texts → `emb_BD` float32 of unit length.
            knows: see `KnowsTexts`.
        """
        self.spec = spec
        self.preprocess = Preprocess(spec)
        self._load_images = load_images
        self._text_vectors = text_vectors
        self._knows = knows
        self._images: ImageEncoder | None = None
        self._loading = threading.Lock()

    @property
    def images(self) -> ImageEncoder:
        """The image side, loaded now if it is not loaded yet; raises what loading raises."""
        with self._loading:
            if self._images is None:
                self._images = self._load_images()
            return self._images

    def prepare(self) -> None:
        """Loads the image side now; raises what loading raises."""
        _ = self.images

    def with_images(self, adapted: Callable[[ImageEncoder], ImageEncoder]) -> LateImages:
        """The same encoder with another image side, which is made from this one's when it is needed."""
        return LateImages(self.spec, lambda: adapted(self.images), self._text_vectors, knows=self._knows)

    def knows(self, text: str) -> bool:
        """See `KnowsTexts`."""
        return self._knows(text)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """See `TextEncoder`."""
        if not texts:
            return np.zeros((0, self.spec.dim), np.float32)
        batches = (texts[start : start + _TEXT_BATCH] for start in range(0, len(texts), _TEXT_BATCH))
        return np.concatenate([self._text_vectors(batch) for batch in batches])

    def encode_images(self, pixels_BCHW: torch.Tensor) -> np.ndarray:
        """See `ImageEncoder`."""
        return self.images.encode_images(pixels_BCHW)

    @property
    def num_at_once(self) -> int:
        """See `StartsImages`; 1 before the image side is loaded, which a job without images for it need not do."""
        return 1 if self._images is None else num_at_once(self._images)

    def start_images(self, pixels_BCHW: torch.Tensor) -> Callable[[], np.ndarray]:
        """See `StartsImages`."""
        return start_images(self.images, pixels_BCHW)


def image_side(encoder: ImageEncoder) -> ImageEncoder:
    """What encodes the images of an encoder, loaded now if it is not loaded yet."""
    return encoder.images if isinstance(encoder, LateImages) else encoder

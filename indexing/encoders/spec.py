"""What an encoder is: its description, and the two things that it may be able to do.

Shapes: B batch, H height, W width, C channels (3), D dimension of the vectors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """All that decides what vectors an encoder gives, and where its weights come from.

    `resize` is "squash" (both sides to `image_size`), "shortest_edge_crop" (shortest side to `resize_size`, then the
    middle `image_size` square) or "shortest_edge_crop_rounded" (the same, but half a pixel of offset is rounded, as
    torchvision does, and not cut off, as transformers does). `mean` and `std` apply to values scaled to 0..1.
    `text_context` is the number of tokens that a text may have, 0 where texts are not limited or not encoded at all.
    `architecture` is the model's name where the same weights fit several, which differ in their activations, say.
    """

    name: str
    weights: str
    weights_sha256: str
    dim: int
    image_size: int
    resize: str
    resize_size: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    text_context: int = 0
    architecture: str = ""
    revision: str | None = None
    licence: str | None = None

    @property
    def fingerprint(self) -> str:
        """16 hex digits over everything that decides the vectors.

        That is the family, the weights' bytes and the preprocessing, but not the name or folder of the weights: a
        model that was moved, or saved anew in another file format, is still the same encoder.
        """
        about = {"name", "weights", "revision", "licence"}
        facts = {name: value for name, value in self._fields().items() if name not in about}
        facts["family"] = self.name.partition(":")[0]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def slug(self) -> str:
        """The name as a folder name: `cn_clip:ViT-B-16` → `cn_clip_ViT-B-16`, `hf:/models/clip` → `hf_clip`.

        The architecture is part of it: `open_clip:ViT-B-32/openai` → `open_clip_ViT-B-32_openai`.
        """
        family, _, weights = self.name.partition(":")
        last = weights.rstrip("/").rpartition("/")[2]
        return "_".join(
            "".join(c if c.isalnum() or c in "-._" else "_" for c in part)
            for part in (family, self.architecture, last)
            if part
        )

    def to_json(self) -> dict[str, Any]:
        """The fields and the fingerprint as JSON values."""
        return {**self._fields(), "mean": list(self.mean), "std": list(self.std), "fingerprint": self.fingerprint}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> EncoderSpec:
        """Inverse of `to_json`."""
        known = {name: value for name, value in fields.items() if name != "fingerprint"}
        return cls(**{**known, "mean": tuple(known["mean"]), "std": tuple(known["std"])})

    def _fields(self) -> dict[str, Any]:
        """All fields; an empty `architecture` is left out, so that specs from before it keep their fingerprint."""
        return {name: value for name, value in asdict(self).items() if value or name != "architecture"}


@runtime_checkable
class ImageEncoder(Protocol):
    """Turns pictures into vectors."""

    @property
    def spec(self) -> EncoderSpec:
        """What this encoder is."""
        ...

    def preprocess(self, rgb_HWC: np.ndarray) -> np.ndarray:
        """A picture of any size, uint8 → `pixels_CHW` of the encoder's size, uint8."""
        ...

    def encode_images(self, pixels_BCHW: torch.Tensor) -> np.ndarray:
        """Preprocessed pixels, uint8 → `emb_BD`, float32, unit norm."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """Turns texts into vectors of the same space. DINOv2 is not one: it has no text side."""

    @property
    def spec(self) -> EncoderSpec:
        """What this encoder is."""
        ...

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """Texts → `emb_BD`, float32, unit norm. A text that is too long is cut, with a warning."""
        ...

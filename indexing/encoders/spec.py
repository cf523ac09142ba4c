"""What an encoder is: the description of its vectors, and the two protocols that it may satisfy.

Shapes: B batch, H height, W width, C channels (3), D dimension of the vectors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, TypeVar, get_args, runtime_checkable

import numpy as np

from ...datasets.display import is_blank
from ...datasets.errors import InputError

if TYPE_CHECKING:
    import torch

T = TypeVar("T", bound=str)

Resize = Literal["squash", "shortest_edge_crop", "shortest_edge_crop_rounded"]
Interpolation = Literal["bicubic", "bilinear", "lanczos", "nearest"]
Resizer = Literal["pillow", "torch"]
Precision = Literal["auto", "fp32", "bf16"]

# Fields that came later, and the values that all specs before them stand for.
_LATER = {"architecture": "", "resizer": "pillow"}


class PreprocessingFields(TypedDict):
    """The fields of an `EncoderSpec` that describe its preprocessing."""

    image_size: int
    resize: Resize
    resize_size: int
    interpolation: Interpolation
    resizer: Resizer
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """Everything that decides which vectors an encoder returns, and where its weights come from.

    A small encoder of your own needs only `name`, `dim` and `image_size`.

    Attributes:
        name: `family` or `family:weights`. A gallery stores it, and its folder names are derived from it.
        weights: where the weights come from.
        weights_sha256: the weights' checksum; empty for an encoder without weights.
        dim: the dimension of the vectors.
        image_size: height and width of the model's input, in pixels.
        resize: "squash" (both sides to `image_size`), "shortest_edge_crop" (the shortest side to `resize_size`, then
            the central square of `image_size`) or "shortest_edge_crop_rounded" (the same, but half a pixel of offset is
            rounded, as in torchvision, instead of truncated, as in transformers).
        resize_size: the shortest side before the crop, in pixels; 0 stands for `image_size`.
        interpolation: the filter that resizes.
        resizer: the library that resizes: "pillow", or "torch", which takes a third of the time, has only bicubic and
            bilinear, and differs from Pillow by up to 2 of 255 in a few values. A gallery uses one for all its images.
        mean: subtracted from each channel, whose values are scaled to 0..1.
        std: what each channel is divided by after that.
        text_context: the maximum number of tokens of a text; 0 if texts have no limit, or the encoder has no text side.
        architecture: the model's name, if the same weights fit several models, for example with other activations.
        revision: the commit of the model repository.
        licence: of the weights.
    """

    name: str
    weights: str = ""
    weights_sha256: str = ""
    dim: int
    image_size: int
    resize: Resize = "squash"
    resize_size: int = 0
    interpolation: Interpolation = "bicubic"
    resizer: Resizer = "pillow"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    text_context: int = 0
    architecture: str = ""
    revision: str | None = None
    licence: str | None = None

    def __post_init__(self) -> None:
        if not self.resize_size:
            object.__setattr__(self, "resize_size", self.image_size)

    @property
    def fingerprint(self) -> str:
        """16 hex digits over everything that decides the vectors.

        This covers the family, the bytes of the weights and the preprocessing, but not the name or the folder of the
        weights: a model that was moved, or saved again in another file format, is still the same encoder.
        """
        about = {"name", "weights", "revision", "licence"}
        facts = {name: value for name, value in self._fields().items() if name not in about}
        facts["family"] = self.name.partition(":")[0]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def slug(self) -> str:
        """The name as a folder name: `cn_clip:ViT-B-16` → `cn_clip_ViT-B-16`, `hf:/models/clip` → `hf_clip`.

        It includes the architecture: `open_clip:ViT-B-32/openai` → `open_clip_ViT-B-32_openai`.
        """
        family, _, weights = self.name.partition(":")
        last = weights.rstrip("/").rpartition("/")[2]
        return "_".join(
            "".join(c if c.isalnum() or c in "-._" else "_" for c in part)
            for part in (family, self.architecture, last)
            if part
        )

    def resized_as(self, others: Iterable[EncoderSpec]) -> EncoderSpec:
        """This spec with the resizer of the one of the others that differs in nothing else; itself if none is so."""
        by_fingerprint = {spec.fingerprint for spec in others}
        resizers = (self.resizer, *get_args(Resizer))
        candidates = (self if name == self.resizer else replace(self, resizer=name) for name in resizers)
        return next((spec for spec in candidates if spec.fingerprint in by_fingerprint), self)

    def to_json(self) -> dict[str, Any]:
        """The fields and the fingerprint as JSON values."""
        return {**self._fields(), "mean": list(self.mean), "std": list(self.std), "fingerprint": self.fingerprint}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> EncoderSpec:
        """Inverse of `to_json`."""
        known = {name: value for name, value in fields.items() if name != "fingerprint"}
        return cls(**{**known, "mean": tuple(known["mean"]), "std": tuple(known["std"])})

    def _fields(self) -> dict[str, Any]:
        """All fields, without later ones that say what was so before: specs of that time keep their fingerprint.

        The other defaults are included, so that a spec that states them has the same fingerprint.
        """
        return {name: value for name, value in asdict(self).items() if name not in _LATER or value != _LATER[name]}


def as_precision(name: str) -> Precision:
    """Returns a precision that a user gave as text.

    Raises:
        InputError: if it is not known.
    """
    return one_of(get_args(Precision), name, "precision")


def one_of(allowed: Sequence[T], given: str, what: str) -> T:
    """Returns the one of some names that a user gave as text.

    Raises:
        InputError: if it is none of them.
    """
    for name in allowed:
        if name == given:
            return name
    raise InputError(f"{what} {given!r} is not known; give one of: {', '.join(allowed)}")


@runtime_checkable
class ImageEncoder(Protocol):
    """Turns images into vectors. Any object with these three members is one; it need not be registered."""

    @property
    def spec(self) -> EncoderSpec:
        """The description of this encoder."""
        ...

    def preprocess(self, rgb_HWC: np.ndarray) -> np.ndarray:
        """An image of any size, uint8 → `pixels_CHW` of the encoder's input size, uint8.

        Embedding with `num_workers` > 0 sends a pickled copy of this callable to every worker process. A bound method
        takes its whole object there; an attribute that holds `Preprocess(spec)` takes only the spec.

        The result may be a view of memory in the order H×W×C, which saves a transposition: batches of such views have
        that order too (`channels_last`), all others are contiguous.
        """
        ...

    def encode_images(self, pixels_BCHW: torch.Tensor) -> np.ndarray:
        """Preprocessed pixels, uint8 → `emb_BD`, float32, unit norm.

        The memory of the pixels is used again for another batch once their vectors are returned.
        """
        ...


@runtime_checkable
class StartsImages(ImageEncoder, Protocol):
    """An image encoder on a device that computes by itself: the next batch is prepared meanwhile.

    One that computes several batches beside each other says how many in a property `num_at_once`.
    """

    def start_images(self, pixels_BCHW: torch.Tensor) -> Callable[[], np.ndarray]:
        """Begins what `encode_images` does, and returns a function that waits for the vectors and returns them."""
        ...


def start_images(encoder: ImageEncoder, pixels_BCHW: torch.Tensor) -> Callable[[], np.ndarray]:
    """Begins to encode images, where the encoder can do that, else encodes them; see `StartsImages`."""
    if isinstance(encoder, StartsImages):
        return encoder.start_images(pixels_BCHW)
    emb_BD = encoder.encode_images(pixels_BCHW)
    return lambda: emb_BD


def num_at_once(encoder: ImageEncoder) -> int:
    """How many batches an encoder computes beside each other; 1 unless it says another number."""
    return getattr(encoder, "num_at_once", 1)


@runtime_checkable
class Resizable(ImageEncoder, Protocol):
    """An image encoder that can resize as it did in earlier releases, for galleries that were made with them."""

    def with_resizer(self, resizer: Resizer) -> ImageEncoder:
        """The same model behind another resizer."""
        ...


@runtime_checkable
class KnowsTexts(Protocol):
    """A text encoder that can say for which texts its vector means nothing; others have vectors for all texts."""

    def knows(self, text: str) -> bool:
        """Whether the encoder knows a part of the text. If not, all such texts have nearly the same vector."""
        ...


def says_nothing(encoder: object, text: str) -> bool:
    """Whether a text looks full but has nothing for an encoder: controls only, or symbols that it does not know."""
    return is_blank(text) or (isinstance(encoder, KnowsTexts) and not encoder.knows(text))


@runtime_checkable
class TextEncoder(Protocol):
    """Turns texts into vectors of the same space. DINOv2 is not one, because it has no text side."""

    @property
    def spec(self) -> EncoderSpec:
        """The description of this encoder."""
        ...

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """Texts → `emb_BD`, float32, unit norm. A text that is too long is cut, with a warning."""
        ...

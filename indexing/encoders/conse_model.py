"""The side of ConSE's images, in torch; see `conse`.

Shapes: B batch, K best classes of an image, N classes (1000), D dimension (512).
"""

from __future__ import annotations

import csv
from functools import cache, cached_property
from pathlib import Path

import torch

from .conse_sentences import text_vectors
from .torch_encoder import unit_norm


class ConseModel:
    """The side of the images. It is loaded at its first use, so a text search never loads the classifier."""

    def __init__(
        self,
        classifier: Path,
        labels: Path,
        *,
        num_classes: int,
        power: float,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Loads nothing yet.

        Args:
            classifier: the checkpoint of EfficientNet-Lite0.
            labels: the names of its classes, in two languages.
            num_classes: how many of the best classes are combined.
            power: the exponent of their probabilities.
            device: where the classifier runs.
            dtype: of its weights.
        """
        self._classifier_path = classifier
        self._labels = labels
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
        return _names_of_classes(self._labels).to(self._device)

    @cached_property
    def _classifier(self) -> torch.nn.Module:
        import timm

        model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        # The checkpoint was made with another implementation: other names, the same tensors in the same order.
        theirs = torch.load(self._classifier_path, map_location="cpu", weights_only=True).values()
        ours = model.state_dict()
        model.load_state_dict(dict(zip(ours, theirs, strict=True)))
        return model.eval().to(self._device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]


@cache
def _names_of_classes(labels: Path) -> torch.Tensor:
    """One unit vector per class: the mean over its languages, each of which is the mean over its synonyms."""
    with labels.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    languages = [_mean_of_synonyms([row[column] for row in rows]) for column in ("names_en", "names_zh")]
    return unit_norm(torch.stack(languages).mean(dim=0))


def _mean_of_synonyms(names: list[str]) -> torch.Tensor:
    synonyms = [[part.strip() for part in name.replace("，", ",").split(",") if part.strip()] for name in names]
    emb = torch.from_numpy(text_vectors([text for texts in synonyms for text in texts]))
    return unit_norm(torch.stack([part.mean(dim=0) for part in emb.split([len(texts) for texts in synonyms])]))

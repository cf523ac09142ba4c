"""A gallery of vectors at angles in a plane, and an encoder that reads texts as angles: `40` is at 40°."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pictures import jpeg
from planted import at_angles, plant

from diantu.indexing.encoders import EncoderSpec
from diantu.indexing.store.manifest import read_manifest
from diantu.search import Gallery


class Angles:
    """Encodes texts that are numbers as unit vectors at this angle in degrees."""

    def __init__(self, spec: EncoderSpec) -> None:
        self.spec = spec

    def preprocess(self, rgb_HWC: np.ndarray) -> np.ndarray:
        raise NotImplementedError("no test searches by images")

    def encode_images(self, pixels_BCHW: object) -> np.ndarray:
        raise NotImplementedError("no test searches by images")

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        return at_angles(*map(float, texts)).astype(np.float32)


def gallery_at(
    folder: Path,
    degrees: Sequence[float],
    records: Sequence[Mapping[str, Any]] = (),
    *,
    size: tuple[int, int] = (40, 30),
) -> Gallery:
    """Returns a gallery whose row i is at `degrees[i]`, with an image of its own and the metadata of its record."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(len(degrees)):
        path = folder / f"{i}.jpg"
        path.write_bytes(jpeg(seed=i, size=size))
        place = {"shard": None, "offset": None, "length": None, "image_path": str(path), "caption": str(degrees[i])}
        rows.append({**place, **(records[i] if records else {})})
    root = plant(folder / "gallery", at_angles(*degrees).astype(np.float32), rows)
    return open_gallery(root)


def open_gallery(root: Path) -> Gallery:
    return Gallery.open(root, encoder=Angles(read_manifest(root).spec))

"""Galleries of planted vectors, without an encoder's work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diantu.datasets import Shard
from diantu.indexing.encoders import EncoderSpec
from diantu.indexing.store.manifest import Manifest, read_manifest
from diantu.indexing.store.parts import write_part


def plant(root: Path, emb_ND: np.ndarray, records: Sequence[Mapping[str, Any]] = (), num_parts: int = 1) -> Path:
    """Adds rows to a gallery, in parts of nearly equal size; keys are the numbers of rows."""
    spec = EncoderSpec(
        name="hf:x", weights="x", weights_sha256="0", dim=emb_ND.shape[1], image_size=8, resize="squash",
        resize_size=8, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1),
    )  # fmt: skip
    manifest = read_manifest(root) if (root / "gallery.json").exists() else Manifest(encoders=(spec,))
    rows = [{"key": str(manifest.num_rows + i), **(records[i] if records else {})} for i in range(len(emb_ND))]
    for here in np.array_split(np.arange(len(emb_ND)), num_parts):
        number = len(manifest.parts)
        shard = Shard(uri=f"/{number}.tar", format="webdataset", size_bytes=0)
        records = [rows[i] for i in here]
        write_part(root, number, shard, fingerprint=spec.fingerprint, emb_ND=emb_ND[here], records=records)
        manifest = manifest.with_committed(root)
    manifest.save(root)
    return root


def stored(emb_ND: np.ndarray) -> np.ndarray:
    """Vectors as a gallery keeps them, in float64."""
    return emb_ND.astype(np.float16).astype(np.float64)


def unit(emb_ND: np.ndarray) -> np.ndarray:
    """Vectors scaled to length 1."""
    return emb_ND / np.linalg.norm(emb_ND, axis=-1, keepdims=True)


def at_angles(*degrees: float) -> np.ndarray:
    """Vectors in a plane, so that scores are cosines of differences."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)

"""A service in this process, over galleries whose images have any bytes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from galleries import DIM, SPEC, write_gallery
from PIL import Image
from starlette.testclient import TestClient

from diantu.search.service.app import create_app
from diantu.search.service.settings import Settings


class Looks:
    """An encoder for tests: an image's vector is its mean colour, a text's vector follows from its letters."""

    spec = SPEC

    def preprocess(self, rgb_HWC: np.ndarray) -> np.ndarray:
        return np.broadcast_to(rgb_HWC.mean(axis=(0, 1)).astype(np.uint8)[:, None, None], (3, 2, 2)).copy()

    def encode_images(self, pixels_BCHW: Any) -> np.ndarray:
        emb_BD = np.zeros((len(pixels_BCHW), DIM), np.float32)
        emb_BD[:, :3] = np.asarray(pixels_BCHW, np.float32).mean(axis=(2, 3)) + 1
        return emb_BD / np.linalg.norm(emb_BD, axis=1, keepdims=True)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        emb_BD = np.stack([np.random.default_rng(sum(text.encode())).standard_normal(DIM) for text in texts])
        return (emb_BD / np.linalg.norm(emb_BD, axis=1, keepdims=True)).astype(np.float32)


def client_of(root: Path, **settings: Any) -> TestClient:
    """A client of a service over one gallery, `g`."""
    app = create_app(Settings(galleries={"g": root}, **settings), {"g": Looks()})
    return TestClient(app, "http://127.0.0.1:8000")


def picture(color: str | tuple[int, int, int] = "red", size: tuple[int, int] = (64, 48), kind: str = "JPEG") -> bytes:
    """The bytes of an image of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, kind)
    return buffer.getvalue()


def write_images(root: Path, images: Mapping[str, bytes], **fields: Any) -> Path:
    """A gallery of one tar with these members, in whose rows nothing was ever decoded.

    Args:
        root: a new folder, for `shard.tar` and the gallery `g`.
        images: the bytes of each row, by its key.
        fields: fields that every row has.

    Returns:
        The gallery's folder.
    """
    root.mkdir(parents=True, exist_ok=True)
    records = []
    with tarfile.open(root / "shard.tar", "w") as tar:
        for place, (key, data) in enumerate(images.items()):
            member = tarfile.TarInfo(f"{place}.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            records.append({"key": key, "caption": f"caption of {key}", "image_path": member.name, **fields})
    with tarfile.open(root / "shard.tar") as tar:
        for record, member in zip(records, tar, strict=True):
            record |= {"shard": str(root / "shard.tar"), "offset": member.offset_data, "length": member.size}
    return write_gallery(root / "g", [records])

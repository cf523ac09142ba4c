"""Services over small galleries: in this process, or with a socket of their own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from planted import plant, unit

from diantu.indexing.encoders import EncoderSpec, ImageEncoder
from diantu.indexing.store.manifest import read_manifest
from diantu.search.service.app import create_app
from diantu.search.service.server import Server
from diantu.search.service.settings import Settings

DIM = 8
LOCAL = "http://127.0.0.1"


class Colours:
    """An encoder without a model: a text's vector comes from its characters, an image's from its mean colour."""

    def __init__(self, spec: EncoderSpec) -> None:
        self.spec = spec

    def preprocess(self, rgb_HWC: np.ndarray) -> np.ndarray:
        return np.broadcast_to(rgb_HWC.mean((0, 1))[:, None, None], (3, 8, 8)).astype(np.uint8)

    def encode_images(self, pixels_BCHW: Any) -> np.ndarray:
        emb_BD = np.ones((len(pixels_BCHW), self.spec.dim), np.float32)
        emb_BD[:, :3] = np.asarray(pixels_BCHW).mean((2, 3)) / 64
        return unit(emb_BD).astype(np.float32)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        seeds = [sum(text.encode()) for text in texts]
        vectors = [np.random.default_rng(seed).standard_normal(self.spec.dim) for seed in seeds]
        return unit(np.stack(vectors)).astype(np.float32)


def planted(folder: Path, num_rows: int = 60, num_parts: int = 3) -> Path:
    """A gallery of random vectors with some metadata; NaN, Chinese, dates and missing values are among it."""
    records = [
        {
            "caption": f"猫 {row}" if row % 2 else None,
            "width": 100 + row,
            "punsafe": None if row % 5 == 0 else row / 100,
            "category": ("cat", "dog", "熊猫")[row % 3],
        }
        for row in range(num_rows)
    ]
    return plant(folder, unit(np.random.default_rng(3).standard_normal((num_rows, DIM))), records, num_parts)


def encoder_of(root: Path) -> ImageEncoder:
    """An encoder that fits a planted gallery."""
    return Colours(read_manifest(root).spec)


@contextlib.contextmanager
def client(root: Path, encoder: ImageEncoder | None = None, **settings: Any) -> Iterator[TestClient]:
    """A service over one gallery, called in this process; `settings` are those of `Settings`."""
    encoders: Mapping[str, ImageEncoder] = {"g": encoder or encoder_of(root)}
    app = create_app(Settings(galleries={"g": root}, **settings), encoders)
    with TestClient(app, base_url=LOCAL, raise_server_exceptions=False) as calling:
        yield calling


@contextlib.contextmanager
def running(root: Path, encoder: ImageEncoder | None = None, **settings: Any) -> Iterator[str]:
    """A service over one gallery on a free port of this machine: its URL."""
    encoders: Mapping[str, ImageEncoder] = {"g": encoder or encoder_of(root)}
    started = threading.Event()
    server = Server(Settings(galleries={"g": root}, port=0, **settings), encoders, on_start=lambda url: started.set())
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(60)
        yield server.url
    finally:
        server.stop()
        thread.join()

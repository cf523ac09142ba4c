"""Services over small galleries: in this process, or with a socket of their own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
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


def records_of(num_rows: int) -> list[dict[str, Any]]:
    """Some metadata; NaN, Chinese, dates and missing values are among it."""
    return [
        {
            "caption": f"猫 {row}" if row % 2 else None,
            "width": 100 + row,
            "punsafe": None if row % 5 == 0 else row / 100,
            "category": ("cat", "dog", "熊猫")[row % 3],
        }
        for row in range(num_rows)
    ]


def planted(folder: Path, num_rows: int = 60, num_parts: int = 3) -> Path:
    """A gallery of random vectors with some metadata."""
    emb_ND = unit(np.random.default_rng(3).standard_normal((num_rows, DIM)))
    return plant(folder, emb_ND, records_of(num_rows), num_parts)


def wait_for(holds: Callable[[], bool], seconds: float = 120) -> None:
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def encoder_of(root: Path) -> ImageEncoder:
    """An encoder that fits a planted gallery."""
    return Colours(read_manifest(root).spec)


@contextlib.contextmanager
def client(root: Path, encoder: ImageEncoder | None = None, **settings: Any) -> Iterator[TestClient]:
    """A service over one gallery, called in this process; `settings` are those of `Settings`."""
    encoders: Mapping[str, ImageEncoder] = {"g": encoder or encoder_of(root)}
    app = create_app(Settings(galleries={"g": root}, **{"deadline": 120.0, **settings}), encoders)
    with TestClient(app, base_url=LOCAL, raise_server_exceptions=False) as calling:
        wait_for(lambda: app.state.context.galleries["g"].is_ready)
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
        wait_for(lambda: httpx.get(f"{server.url}readyz").status_code == 200)
        yield server.url
    finally:
        server.stop()
        thread.join()

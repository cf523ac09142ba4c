"""A gallery of a hostile stranger: keys, captions and metadata that try to become markup, links and formulas."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from galleries import DIM, SPEC, write_gallery
from PIL import Image

MARKUP = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
SCRIPT_URL = "javascript:document.title='taken'"
NUM_ROWS = 24
BROKEN = 5  # the row whose image cannot be read


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


def write_strangers(root: Path) -> Path:
    """Writes the gallery and its shard below a folder; returns the gallery's folder."""
    images = [_image(number) for number in range(NUM_ROWS)]
    images[BROKEN] = b"not an image"
    shard = root / "shard.tar"
    with tarfile.open(shard, "w") as tar:
        for number, data in enumerate(images):
            member = tarfile.TarInfo(f"{number}.png")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    with tarfile.open(shard) as tar:
        places = [(str(shard), member.offset_data, member.size, member.name) for member in tar]
    return write_gallery(
        root / "gallery", [[_record(number, *place) for number, place in enumerate(places)]], texts=True
    )


def _image(number: int) -> bytes:
    buffer = io.BytesIO()
    color = (10 * number, 250 - 10 * number, 128)
    Image.new("RGB", (60 + 20 * (number % 5), 80), color).save(buffer, "PNG")
    return buffer.getvalue()


def _record(number: int, shard: str, offset: int, length: int, path: str) -> dict[str, Any]:
    return {
        "key": f"{number}{MARKUP}", "caption": f"{MARKUP} {number}", "shard": shard, "offset": offset,
        "length": length, "image_path": path, "width": 60 + 20 * (number % 5), "height": 80,
        "url": SCRIPT_URL, "source": SCRIPT_URL, "licence": f"<b>{number % 2}</b>", "author": MARKUP,
        "page": f"https://example.org/?a=<b>&row={number}",
        '"><b onclick=alert(1)>': f"'; DROP TABLE x; -- {number % 3}",
        "good": number % 2 == 0, "made": f"2024-01-{1 + number:02}", "huge": 2**60 + number,
    }  # fmt: skip

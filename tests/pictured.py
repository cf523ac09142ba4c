"""Galleries whose images have any bytes, and a service over them in this process."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from galleries import write_gallery
from PIL import Image
from services import LOCAL, encoder_of
from starlette.testclient import TestClient

from diantu.search.service.app import create_app
from diantu.search.service.settings import Settings


def client_of(root: Path, **settings: Any) -> TestClient:
    """A client of a service over one gallery, `g`."""
    app = create_app(Settings(galleries={"g": root}, **settings), {"g": encoder_of(root)})
    return TestClient(app, LOCAL)


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

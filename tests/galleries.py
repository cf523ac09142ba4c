"""Galleries made from raw vectors, without an encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from diantu.datasets import Failure, Reason, Shard
from diantu.indexing.build import job
from diantu.indexing.encoders import EncoderSpec
from diantu.indexing.store.layout import space_root
from diantu.indexing.store.ledger import Ledger
from diantu.indexing.store.manifest import Manifest, read_manifest
from diantu.indexing.store.parts import write_part, write_space_part
from diantu.indexing.store.snapshot import Snapshot

DIM = 8
SPEC = EncoderSpec(
    name="hf:x", weights="x", weights_sha256="0", dim=DIM, image_size=32, resize="squash", resize_size=32,
    interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1),
)  # fmt: skip
FURTHER = replace(SPEC, name="hf:further", weights="further", weights_sha256="1")


def unit(seed: int, count: int) -> np.ndarray:
    """`emb_ND` float32 of unit length."""
    emb_ND = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True)


def write_gallery(root: Path, parts: Sequence[Sequence[dict[str, Any]]], *, texts: bool = False) -> Path:
    """A gallery whose parts have these records, one failure each, and vectors in two spaces (and of captions).

    With `texts`, a row without a caption has zeros as the vector of its caption.
    """
    shards = [Shard(uri=f"/{number}.tar", format="webdataset", size_bytes=number) for number in range(len(parts))]
    Ledger(root).assign(shards)
    for number, (shard, records) in enumerate(zip(shards, parts, strict=True)):
        failure = Failure(key=f"bad {number}", shard=shard.uri, reason=Reason.UNDECODABLE, detail="no picture")
        emb_ND, further_ND, texts_ND = (unit(3 * number + i, len(records)) for i in range(3))
        texts_ND[[not record.get("caption") for record in records]] = 0  # as `diantu embed` leaves them
        write_space_part(
            space_root(root, FURTHER.slug), number, shard, fingerprint=FURTHER.fingerprint, emb_ND=further_ND
        )
        write_part(
            root,
            number,
            shard,
            fingerprint=SPEC.fingerprint,
            emb_ND=emb_ND,
            records=records,
            failures=[failure],
            text_emb_ND=texts_ND if texts else None,
        )
    Manifest(encoders=(SPEC, FURTHER), texts=texts).with_committed(root).save(root)
    return root


def keyed(*sizes: int) -> list[list[dict[str, Any]]]:
    """Records for parts of these sizes: keys `<part>-<row>`, and `number`, which counts through all parts."""
    first = np.cumsum([0, *sizes]).tolist()
    return [
        [{"key": f"{part}-{row}", "caption": f"c {part} {row}", "number": first[part] + row} for row in range(size)]
        for part, size in enumerate(sizes)
    ]


def new_gallery(root: Path, dim: int) -> Path:
    """A gallery without rows; `add_rows` fills it."""
    Manifest(encoders=(replace(SPEC, dim=dim),)).save(root)
    return root


def add_rows(root: Path, emb_ND: np.ndarray) -> None:
    """Adds a part, whose keys are `<part>-<row>`."""
    manifest = read_manifest(root)
    number = len(manifest.parts)
    shard = Shard(uri=f"/{number}.tar", format="webdataset", size_bytes=number)
    Ledger(root).assign([shard])
    records = [{"key": f"{number}-{row}"} for row in range(len(emb_ND))]
    write_part(root, number, shard, fingerprint=manifest.spec.fingerprint, emb_ND=emb_ND, records=records)
    manifest.with_committed(root).save(root)


@contextmanager
def few_queries() -> Iterator[None]:
    """Indexes are tuned and measured with 200 queries, not 2000: enough where a test does not ask for their recall."""
    with mock.patch.object(job, "_NUM_QUERIES", 200):
        yield


def snapshot_of(root: Path, manifest: Manifest, deleted: Sequence[int] = ()) -> Snapshot:
    """A snapshot of parts that no `gallery.json` lists."""
    return Snapshot(root=root, manifest=manifest, deleted=np.array(deleted, np.int64))

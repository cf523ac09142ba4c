"""The measured speeds of an encoder on this machine, and what `auto` takes because of them.

`diantu bench-encoder` writes a table into the user's cache. It counts only on the processor, with the number of threads
and with the versions that it was measured with.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ....datasets.files import read_bytes, write_json
from ..spec import Precision
from .kinds import Computed
from .machine import machine, user_cache

# What another runtime must gain over torch before `auto` takes it: less is within what measurements differ by.
GAIN = 1.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way to encode images.

    Attributes:
        runtime: what computes.
        precision: in which.
        images_per_s: the speed.
        ms_per_batch: the median time of a batch.
        cosine: the worst cosine to torch in fp32, on photographs.
        start_seconds: to compile the model for a batch of this size; None for runtimes that need not do that.
    """

    runtime: str
    precision: Computed
    images_per_s: float
    ms_per_batch: float
    cosine: float
    start_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What was measured of an encoder.

    Attributes:
        encoder: its name.
        fingerprint: its fingerprint.
        batch_size: images per batch.
        conditions: what the speeds depend on, see `conditions`.
        rows: torch's first.
        left_out: why others were not measured, one sentence each.
    """

    encoder: str
    fingerprint: str
    batch_size: int
    conditions: dict[str, str]
    rows: tuple[Row, ...]
    left_out: tuple[str, ...]

    def save(self, device: torch.device) -> Path:
        """Writes the table for `chosen`, and returns its file."""
        path = _path(self.fingerprint, device)
        write_json(path, self.to_json())
        return path

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def conditions(device: torch.device) -> dict[str, str]:
    """What the speed on a device depends on."""
    return {**machine(device), "threads": str(torch.get_num_threads())}


def chosen(fingerprint: str, device: torch.device, asked: Precision, of_torch: Computed) -> Row | None:
    """The runtime that a table says to take instead of torch; None without a table that counts here.

    Args:
        fingerprint: the encoder's.
        device: where it runs.
        asked: the precision that was asked for.
        of_torch: the precision in which torch would compute.
    """
    try:
        table = json.loads(read_bytes(_path(fingerprint, device)))
        if table["fingerprint"] == fingerprint and table["conditions"] == conditions(device):
            return best([Row(**row) for row in table["rows"]], asked, of_torch)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    return None


def best(rows: Sequence[Row], asked: Precision, of_torch: Computed) -> Row | None:
    """The fastest runtime if it is faster than torch by `GAIN`. With `auto` it may compute in fp32, too.

    One that takes long to start is not chosen: whether that pays depends on the number of images, see `pays_from`.
    """
    precisions = {of_torch, "fp32"} if asked == "auto" else {of_torch}
    torch_row = next((row for row in rows if row.runtime == "torch" and row.precision == of_torch), None)
    others = [
        row for row in rows if row.runtime != "torch" and row.precision in precisions and row.start_seconds is None
    ]
    if torch_row is None or not others:
        return None
    first = max(others, key=lambda row: row.images_per_s)
    return first if first.images_per_s >= GAIN * torch_row.images_per_s else None


def pays_from(row: Row, of_torch: Row) -> int | None:
    """The number of images from which a runtime that takes long to start is faster than torch; None if it never is."""
    gain = 1 / of_torch.images_per_s - 1 / row.images_per_s
    return max(math.ceil((row.start_seconds or 0.0) / gain), 1) if gain > 0 else None


def _path(fingerprint: str, device: torch.device) -> Path:
    return user_cache() / "bench" / f"{fingerprint}-{device.type}-{torch.get_num_threads()}-threads.json"

"""Metadata like that of a web crawl, for galleries to measure with."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...datasets.features import COLOR_NAMES

_WORDS = (
    "a", "photo", "of", "red", "blue", "old", "small", "large", "cat", "dog", "castle", "bridge", "river", "山", "水",
    "猫", "城堡", "on", "the", "table", "in", "snow",
)  # fmt: skip


def web_records(first: int, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The metadata of rows from `first` on: every column that an embedding job writes, and two of LAION's tables."""
    words = rng.integers(0, len(_WORDS), (count, 9))
    widths, heights = rng.integers(64, 2049, (2, count))
    hashes = rng.integers(0, 1 << 63, count)
    shares = rng.random((count, 7)).round(4)
    return [
        {
            "key": f"{row:09d}",
            "shard": f"/bench/{first:09d}.tar",
            "offset": 1024 * row,
            "length": 40_000,
            "image_path": f"{row:09d}.jpg",
            "caption": " ".join(_WORDS[word] for word in words[row - first]),
            "url": f"https://images.example/{row * 7919 % 1_000_003:06x}/{row:09d}.jpg",
            "width": width,
            "height": height,
            "aspect": round(width / height, 4),
            "brightness": bright,
            "contrast": contrast / 2,
            "colorfulness": 100 * colorful,
            "dominant_color": COLOR_NAMES[row % len(COLOR_NAMES)],
            "dominant_hue": 360 * hue,
            "complexity": 6 * complex_,
            "phash": phash,
            "punsafe": unsafe,
            "similarity": similar,
        }
        for row, width, height, phash, (bright, contrast, colorful, hue, complex_, unsafe, similar) in zip(
            range(first, first + count),
            widths.tolist(),
            heights.tolist(),
            hashes.tolist(),
            shares.tolist(),
            strict=True,
        )
    ]

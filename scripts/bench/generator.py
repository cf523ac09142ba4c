"""Synthetic vectors that behave like CLIP's: images in clusters, and texts in another region of the space.

An image is the sum of three components: a random cluster centre, whose spectrum follows a power law (the i-th
eigenvalue ∝ 1/i) and which is chosen with Zipf's probabilities; noise with a nearly flat spectrum (∝ i^−0.3); and a
direction that all images share. A text has content of the same kind, more of that noise, and a direction that it shares
with images only in part. All vectors are rotated by one random orthogonal matrix and scaled to unit length. So texts
occupy another region of the space than images, their nearest images are far away and spread over many lists, and text
queries are hard (VIBE, arXiv 2505.17810).

The strengths are chosen so that with 1 000 000 rows of 512 dimensions and an index of 2048 lists, the nearest 16 lists
contain 0.936 of the ten nearest images of an image and 0.791 of those of a text (LAION-CLIP: 0.93 and 0.79). Texts need
about five times as many lists for the same share; the mean cosine of a text and an image is 0.14. `bench_index
--calibration` measures this again.

Shapes: N rows, D dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Streams of random numbers.
_IMAGES, _TEXTS = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The strengths of the components of a vector; see the module.

    The field names are part of `bench.json`, so they must not change.
    """

    dim: int = 512
    num_centres: int = 20_000
    zipf: float = 0.5
    centre_decay: float = 1.0
    noise_decay: float = 0.3
    picture_noise: float = 0.9
    text_noise: float = 1.0
    text_gap: float = 0.3  # along a direction of the texts alone
    shared_gap: float = 0.4  # along the direction that all images share
    seed: int = 0


class Generator:
    """Images and texts of a recipe, block by block; a block has the same vectors whenever it is drawn."""

    def __init__(self, recipe: Recipe) -> None:
        rng = np.random.default_rng(recipe.seed)
        dim = recipe.dim
        self._recipe = recipe
        self._noise_D = _spectrum(dim, recipe.noise_decay)
        self._centres = rng.standard_normal((recipe.num_centres, dim), dtype=np.float32)
        self._centres *= _spectrum(dim, recipe.centre_decay)
        chances = np.arange(1, recipe.num_centres + 1) ** -recipe.zipf
        self._chances = chances / chances.sum()
        self._rotation_DD = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
        gaps_2D = rng.standard_normal((2, dim)).astype(np.float32)
        image_gap, own_gap = gaps_2D / np.linalg.norm(gaps_2D, axis=1, keepdims=True)
        self._image_gap = image_gap
        self._text_gap = recipe.text_gap * own_gap + recipe.shared_gap * image_gap

    def images(self, count: int, block: int) -> np.ndarray:
        """`emb_ND` float32 of unit length."""
        rng = np.random.default_rng((_IMAGES, self._recipe.seed, block))
        return self._finished(self._content(rng, count) + self._image_gap)

    def texts(self, count: int, block: int) -> np.ndarray:
        """`emb_ND` float32 of unit length."""
        rng = np.random.default_rng((_TEXTS, self._recipe.seed, block))
        content_ND = self._content(rng, count) + self._text_gap
        return self._finished(content_ND + self._recipe.text_noise * self._noise(rng, count))

    def _content(self, rng: np.random.Generator, count: int) -> np.ndarray:
        chosen = rng.choice(len(self._chances), count, p=self._chances)
        return self._centres[chosen] + self._recipe.picture_noise * self._noise(rng, count)

    def _noise(self, rng: np.random.Generator, count: int) -> np.ndarray:
        return self._noise_D * rng.standard_normal((count, self._recipe.dim), dtype=np.float32)

    def _finished(self, emb_ND: np.ndarray) -> np.ndarray:
        return unit(emb_ND @ self._rotation_DD)


def unit(emb_ND: np.ndarray) -> np.ndarray:
    """Vectors as float32 of unit length."""
    emb_ND = emb_ND.astype(np.float32)
    return emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True)


def _spectrum(dim: int, decay: float) -> np.ndarray:
    """Standard deviations whose squares fall as a power of the position and sum to one."""
    eigenvalues = np.arange(1, dim + 1) ** -decay
    return np.sqrt(eigenvalues / eigenvalues.sum()).astype(np.float32)

"""Scores to zscores: how unusual a score is, on one scale for every image, language and encoder.

Shapes: K rows, N sampled rows, Q queries, D dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..store.vectors import Vectors


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """How random queries of one kind score with random images: what a zscore is relative to.

    Some images score high with every query. So the mean score of an image with random queries is subtracted, and the
    rest is given in standard deviations of random pairs.

    Attributes:
        mean: of all scores.
        std: their standard deviation.
        spread: the standard deviation of scores from their image's mean; None in an index of an earlier release.
        centre_D: the mean query, float32: an image's inner product with it is the mean of that image's scores. None in
            an index of an earlier release.
    """

    mean: float
    std: float
    spread: float | None = None
    centre_D: np.ndarray | None = None

    @property
    def is_usable(self) -> bool:
        """Whether scores differ at all, so that zscores exist."""
        return (self.std if self.spread is None else self.spread) > 0

    def zscores(self, scores_K: np.ndarray, emb_KD: np.ndarray) -> np.ndarray:
        """The zscores of rows that answer a query: `K` float32.

        Args:
            scores_K: their scores.
            emb_KD: their vectors, float32.
        """
        if self.centre_D is None or self.spread is None:
            return (scores_K - self.mean) / self.std
        return (scores_K - emb_KD @ self.centre_D) / self.spread

    def to_json(self) -> dict[str, Any]:
        """The values as `index.json` holds them."""
        values: dict[str, Any] = {"mean": self.mean, "std": self.std}
        if self.spread is not None and self.centre_D is not None:
            values |= {"spread": self.spread, "centre": [round(value, 6) for value in self.centre_D.tolist()]}
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """Inverse of `to_json`."""
        centre = values.get("centre")
        return cls(
            mean=values["mean"],
            std=values["std"],
            spread=values.get("spread"),
            centre_D=None if centre is None else np.array(centre, np.float32),
        )


def calibrate(vectors: Vectors, emb_QD: np.ndarray, rows_N: np.ndarray) -> Calibration:
    """Measures the scores of random pairs.

    Args:
        vectors: all rows.
        emb_QD: random queries of one kind, float32 of unit length.
        rows_N: a random sample of rows that are not deleted.
    """
    rows_ND, centre_D = vectors.rows(rows_N), emb_QD.mean(axis=0)
    # An image's score with itself, and a caption's with its own image, are not random pairs, but only one in N of them.
    scores_QN = emb_QD @ rows_ND.T
    return Calibration(
        mean=round(float(scores_QN.mean()), 6),
        std=round(float(scores_QN.std()), 6),
        spread=round(float((scores_QN - rows_ND @ centre_D).std()), 6),
        centre_D=centre_D,
    )

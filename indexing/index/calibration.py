"""Scores → zscores, which say the same for every picture, language and encoder: how unusual a score is.

Shapes: K rows, D dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..store.vectors import Vectors


class Calibration:
    """The scores of random pairs of queries and pictures, as `diantu index` measured them.

    Some pictures score high with everything: their mean score with random queries is subtracted, and the rest is given
    in standard deviations of random pairs.
    """

    def __init__(self, report: Mapping[str, Any] | None) -> None:
        """`report` is that of the index; None where there is none."""
        self._kinds: Mapping[str, Any] = (report or {}).get("calibration", {})

    def knows(self, kind: str) -> bool:
        """Whether zscores of a kind of queries, `text` or `image`, can be given."""
        found = self._kinds.get(kind)
        return bool(found) and found.get("spread", found["std"]) > 0

    def zscores(self, kind: str, scores_K: np.ndarray, emb_KD: np.ndarray) -> np.ndarray:
        """Of rows that answer a query of a kind that is known: `K` float32.

        Args:
            kind: `text` or `image`.
            scores_K: their scores.
            emb_KD: their vectors.
        """
        found = self._kinds[kind]
        if "centre" not in found:  # an index of an earlier release
            return (scores_K - found["mean"]) / found["std"]
        return (scores_K - emb_KD @ np.array(found["centre"], np.float32)) / found["spread"]


def calibrate(vectors: Vectors, emb_QD: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    """How random queries of one kind score with random pictures: what a hit's zscore refers to.

    Args:
        vectors: all rows.
        emb_QD: random queries of one kind, float32 of unit length.
        rows: a random sample of rows that are not deleted.

    Returns:
        `mean` and `std` of the scores. `centre`, the mean query: a picture's score with it is the mean of that
        picture's scores, which is high for pictures that answer everything. `spread`, the standard deviation of scores
        from their picture's mean.
    """
    rows_ND, centre_D = vectors.rows(rows), emb_QD.mean(axis=0)
    scores_QN = emb_QD @ rows_ND.T
    # A picture's score with itself, and a caption's with its own picture, are no random pairs, but one in N of them.
    return {
        "mean": round(float(scores_QN.mean()), 6),
        "std": round(float(scores_QN.std()), 6),
        "spread": round(float((scores_QN - rows_ND @ centre_D).std()), 6),
        "centre": [round(value, 6) for value in centre_D.tolist()],
    }

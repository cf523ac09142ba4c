"""Scores → zscores, which say the same for every picture, language and encoder: how unusual a score is.

Shapes: K rows, D dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


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

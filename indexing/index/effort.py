"""How much of an index a search looks at: effort, and the breadth that an effort stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Effort: TypeAlias = "str | float"

FAST = 0.9  # the recall that effort "fast" asks for
EFFORTS = ("fast", "balanced", "exact")


@dataclass(frozen=True, slots=True, kw_only=True)
class Breadth:
    """How much of an approximate index a search looks at, and how many candidates are scored exactly.

    `nprobe` are inverted lists; where the index is a graph, its efSearch.
    """

    nprobe: int
    candidates: int

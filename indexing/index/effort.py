"""How much of an index a search looks at: efforts, what they mean for one index, and how an answer was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ...datasets.errors import InputError

# One of `EFFORTS`, or the recall to reach, above 0 and up to 1.
Effort: TypeAlias = "str | float"
# What a query consists of: texts need a larger breadth than images for the same recall, and have other scores.
QueryKind: TypeAlias = Literal["text", "image", "vector"]

FAST = 0.9  # the recall of effort "fast"
EFFORTS = ("fast", "balanced", "exact")
# The recall of effort "exact": more than any index was tuned for.
_EXACT = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Breadth:
    """How much of an approximate index a search looks at, and how many candidates are scored exactly.

    `nprobe` is the number of inverted lists; where the index is a graph, its efSearch.
    """

    nprobe: int
    candidates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedBreadth:
    """The cheapest breadth that reached a recall of `target` for `k` results, and the recall that was measured."""

    target: float
    k: int
    nprobe: int
    candidates: int
    recall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EffortTable:
    """What each effort means for one index.

    Attributes:
        target_recall: the recall of effort "balanced".
        tuned: the breadths that were tuned, by kind of queries. Empty where every row is compared.
    """

    target_recall: float = 1.0
    tuned: Mapping[str, Sequence[TunedBreadth]]

    def recall(self, effort: Effort) -> float:
        """The recall that an effort asks for; above 1 where every row must be compared.

        Raises:
            InputError: if there is no such effort.
        """
        if isinstance(effort, str) and effort in EFFORTS:
            return {"fast": min(FAST, self.target_recall), "balanced": self.target_recall, "exact": _EXACT}[effort]
        try:
            target = 0.0 if isinstance(effort, bool) else float(effort)
        except (ValueError, TypeError):
            target = 0.0
        if not 0 < target <= 1:
            known = ", ".join(EFFORTS)
            raise InputError(f"the effort {effort!r} is not known; give one of {known}, or a recall up to 1")
        return target

    def breadth(self, effort: Effort, kind: QueryKind, k: int) -> Breadth | None:
        """The breadth of a search; None where every row is compared.

        The cheapest breadth is taken that was measured to reach the recall for this kind of queries (for texts, where
        this kind was not measured) and for at least k results. Where none does, every row is compared.

        Raises:
            InputError: if there is no such effort.
        """
        target = self.recall(effort)
        points = self.tuned.get(kind, self.tuned.get("text", self.tuned.get("image", ())))
        tuned_ks = sorted({point.k for point in points})
        # For more results than were tuned for, the breadth grows with their number.
        tuned_k = next((number for number in tuned_ks if number >= k), tuned_ks[-1] if tuned_ks else 0)
        reaching = [point for point in points if point.k == tuned_k and point.target >= target]
        if not reaching:
            return None
        point = min(reaching, key=lambda point: point.target)
        scale = max(1.0, k / tuned_k)
        return Breadth(nprobe=int(point.nprobe * scale**0.5), candidates=int(point.candidates * scale))


StrategyName: TypeAlias = Literal["exact", "index", "exact_lists", "index_lists"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How the rows of an answer were found.

    Attributes:
        name: `exact`: every row that qualifies was compared. `index`: the index proposed candidates. `exact_lists`:
            the filter's rows in the nearest inverted lists were compared. `index_lists`: the index proposed candidates
            among the filter's rows in the nearest lists.
        rows: rows that were compared, for `exact`.
        breadth: inverted lists that were searched, or efSearch of a graph; None for `exact`.
        candidates: candidates that were scored exactly, at least; None where their number was not limited.
    """

    name: StrategyName
    rows: int | None = None
    breadth: int | None = None
    candidates: int | None = None

"""How an answer was found: a word for the strategy, and numbers."""

from __future__ import annotations

from typing import TypedDict

from ..datasets.conditions import Missing
from ..indexing.index.effort import Effort, Strategy, StrategyName
from ..indexing.store.snapshot import Over


class _Always(TypedDict):
    space: str
    effort: Effort
    strategy: StrategyName
    ms: dict[str, float]


class Explain(_Always, total=False):
    """How the rows of one answer were found; keys that do not apply are absent.

    Keys:
        space: the encoder whose vectors were searched.
        effort: as it was asked for.
        over: `captions`, where the vectors of captions were compared.
        strategy: `exact` (every row that qualifies was compared), `index` (the index proposed candidates),
            `exact_lists` (the filter's rows in the nearest inverted lists were compared) or `index_lists` (the index
            proposed candidates among the filter's rows in the nearest lists).
        compared: rows that were compared, for `exact`.
        breadth: inverted lists that were searched, or efSearch of a graph.
        candidates: candidates that were scored exactly.
        where: the condition.
        missing: what was done with rows for which the condition could not be decided.
        rows: rows that meet the condition and are not deleted.
        share: their share of all rows that are not deleted, 0 to 1.
        ms: milliseconds per query for each stage: encode, filter, search, metadata.
    """

    over: Over
    compared: int
    breadth: int
    candidates: int
    where: str
    missing: Missing
    rows: int
    share: float


def with_strategy(explain: Explain, strategy: Strategy) -> Explain:
    """The same with the strategy of one query."""
    explain = explain.copy()
    explain["strategy"] = strategy.name
    if strategy.rows is not None:
        explain["compared"] = strategy.rows
    if strategy.breadth is not None:
        explain["breadth"] = strategy.breadth
    if strategy.candidates is not None:
        explain["candidates"] = strategy.candidates
    return explain

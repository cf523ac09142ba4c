"""Conditions that users write: one SQL expression over columns, evaluated within a budget of time and memory.

DuckDB parses and evaluates a condition, and can read nothing but its columns. What is cheap by its form (comparisons,
AND, OR, NOT, IN, LIKE, arithmetic, a few functions) is evaluated in this process. Everything else goes to a process of
its own, which is killed when the time is over and whose memory the system limits.
"""

from .budget import WHERE_SECONDS, Budget
from .evaluation import Condition, Missing, chosen_rows, understood
from .messages import not_understood, unknown_column
from .session import identifier, locked_duckdb, sql_text

__all__ = [
    "WHERE_SECONDS", "Budget", "Condition", "Missing", "chosen_rows", "identifier", "locked_duckdb", "not_understood",
    "sql_text", "understood", "unknown_column",
]  # fmt: skip

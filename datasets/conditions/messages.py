"""What a user is told about a condition that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from ..errors import InputError


class NoConditionError(Exception):
    """The text is not a condition; the message says why."""


class BudgetError(Exception):
    """The condition takes more time or memory than it may; the message says what and how much."""


def not_understood(where: str, reason: str) -> InputError:
    """The error for a condition that cannot be evaluated."""
    reason = " ".join(reason[:300].split())
    return InputError(f"the condition {short(where)} is not understood as one SQL condition over the columns: {reason}")


def over_budget(where: str, error: BudgetError) -> InputError:
    """The error for a condition that takes too much time or memory."""
    return InputError(f"the condition {short(where)} {error}")


def unknown_column(name: str, columns: Iterable[str], *, owner: str) -> str:
    """The part of a message about a column that does not exist; it names similar columns, or all."""
    by_name = {name.lower(): name for name in columns}
    near = [by_name[near] for near in get_close_matches(name[:100].lower(), by_name, cutoff=0.5)]
    hint = f"the nearest: {', '.join(near)}" if near else f"they have: {', '.join(by_name.values())}"
    return f"a column {short(name)} that {owner} do not have; {hint}"


def short(value: str) -> str:
    """The beginning of a text, quoted for a message."""
    return repr(value if len(value) <= 200 else f"{value[:199]}…")

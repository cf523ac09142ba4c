"""Conditions → the rows that meet them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..errors import InputError, first_line
from .budget import Budget
from .children import children
from .messages import BudgetError, NoConditionError, not_understood, over_budget, short, unknown_column
from .syntax import VALUES, Syntax, is_soon_parsed, parse

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

Missing: TypeAlias = Literal["exclude", "include"]
# A condition as a truth value, also where it is a number. CASE WHEN would need no mask of missing values, but takes
# a third more processor time for a comparison of numbers.
_TRUTH = "({}\n) AND true"
# What is sent to another process at once: its memory depends on it.
_BATCH_ROWS, _BATCH_BYTES = 1 << 16, 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition over columns that exist.

    Attributes:
        text: as the user wrote it.
        columns: the columns that it needs, in lower case, each once.
        is_cheap: whether its form bounds the time and the memory for evaluating it.
    """

    text: str
    columns: tuple[str, ...]
    is_cheap: bool


def understood(
    connection: DuckDBPyConnection, where: str, columns: Iterable[str], *, owner: str, budget: Budget | None = None
) -> Condition:
    """A condition, parsed; nothing is evaluated.

    Args:
        connection: any connection.
        where: the condition.
        columns: all existing columns.
        owner: what has the columns, in the plural, for the message: "the tables".
        budget: the time that parsing may take.

    Raises:
        InputError: if it is not one expression of a row's values and functions of them, or names another column.
    """
    try:
        syntax = _syntax(connection, where, budget or Budget())
    except NoConditionError as error:
        raise not_understood(where, str(error)) from error
    except BudgetError as error:
        raise over_budget(where, error) from error
    columns = list(columns)
    known = {name.lower() for name in columns}
    names = [name for name in syntax.names if name.lower() in known or name.lower() not in VALUES]
    for name in names:
        if name.lower() not in known:
            unknown = unknown_column(name, columns, owner=owner)
            raise InputError(f"the condition {short(where)} names {unknown}")
    named = tuple(dict.fromkeys(name.lower() for name in names))
    return Condition(text=where, columns=named, is_cheap=syntax.is_cheap)


def chosen_rows(
    connection: DuckDBPyConnection, condition: Condition, table: pa.Table, missing: Missing, budget: Budget
) -> np.ndarray:
    """Which rows of a table meet a condition: `N` bool.

    Args:
        connection: for conditions that are cheap; no other thread may use it meanwhile.
        condition: the condition.
        table: at least its columns.
        missing: what to do with rows for which the condition is neither true nor false because a value is missing.
        budget: the time that is left.

    Raises:
        InputError: if the values do not fit the condition, or it takes more time or memory than it may.
    """
    evaluate = _evaluated_here if condition.is_cheap else _evaluated_apart
    try:
        return evaluate(connection, _TRUTH.format(condition.text), table, missing, budget)
    except NoConditionError as error:
        raise not_understood(condition.text, str(error)) from error
    except BudgetError as error:
        raise over_budget(condition.text, error) from error


def _syntax(connection: DuckDBPyConnection, where: str, budget: Budget) -> Syntax:
    if is_soon_parsed(where):
        return parse(connection.cursor(), where)
    with children.one(budget) as child:
        answer, _ = child.ask({"do": "parse", "where": where}, b"", budget)
    return Syntax(names=tuple(answer["names"]), is_cheap=answer["is_cheap"])


def _evaluated_here(
    connection: DuckDBPyConnection, expression: str, table: pa.Table, missing: Missing, budget: Budget
) -> np.ndarray:
    import duckdb
    import numpy as np

    with budget.spent() as seconds:
        timer = threading.Timer(seconds, connection.interrupt)
        timer.start()
        try:
            found = connection.from_arrow(table).project(f"{expression} AS chosen").fetchnumpy()["chosen"]
            return np.ma.filled(found, missing == "include")
        except duckdb.InterruptException as error:
            raise budget.exceeded() from error
        except duckdb.Error as error:
            raise NoConditionError(first_line(error)) from error
        finally:
            timer.cancel()


def _evaluated_apart(
    connection: DuckDBPyConnection, expression: str, table: pa.Table, missing: Missing, budget: Budget
) -> np.ndarray:
    import numpy as np

    del connection
    masks = [np.zeros(0, bool)]
    header = {"do": "evaluate", "expression": expression, "missing": missing}
    with children.one(budget) as child:
        for batch in _batches(table):
            _, bits = child.ask(header, _as_stream(batch), budget)
            masks.append(np.unpackbits(np.frombuffer(bits, np.uint8), count=len(batch)).astype(bool))
    return np.concatenate(masks)


def _batches(table: pa.Table) -> Iterator[pa.Table]:
    """Parts of a table that have few rows and, unless one row is longer, few bytes."""
    rows = max(1, min(_BATCH_ROWS, _BATCH_BYTES * len(table) // max(table.nbytes, 1)))
    for start in range(0, len(table), rows):
        yield table.slice(start, rows)


def _as_stream(table: pa.Table) -> memoryview:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return memoryview(sink.getvalue())

"""Conditions that users write: one SQL expression over columns. DuckDB evaluates it and can read nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .errors import InputError, first_line

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


# In characters. No person writes a longer condition, and a hostile one takes long to parse.
MAX_LENGTH = 20_000
_MAX_DEPTH = 100
# The memory for an evaluation, which stops a text that is repeated a billion times.
_MEMORY = "1GB"
# The parts of an expression over one row. Subqueries, windows, stars and parameters are not among them.
_ALLOWED = frozenset({
    "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "LAMBDA",
    "OPERATOR", "TYPE",
})  # fmt: skip
# A condition may depend on the date, but on nothing else outside the row.
_ALSO_ALLOWED = frozenset({"now", "today", "current_date", "get_current_timestamp", "nullif"})
# These make a value whose size an argument decides, which the limit of memory does not stop, or take DuckDB's internal
# states.
_REFUSED = frozenset({
    "repeat", "range", "generate_series", "lpad", "rpad", "bar", "list_resize", "array_resize", "format", "printf",
    "bitstring", "combine", "create_sort_key", "finalize", "invoke", "index_key", "to_aggregate_state",
})  # fmt: skip


def locked_duckdb(files: Sequence[str] = ()) -> DuckDBPyConnection:
    """A DuckDB connection that can read the given files, but nothing else and no Python variable.

    Its configuration is locked, so that no statement can undo this.
    """
    import duckdb

    connection = duckdb.connect()
    connection.execute(
        f"SET allowed_paths = [{', '.join(map(sql_text, files))}]; SET python_enable_replacements = false"
    )
    connection.execute(f"SET memory_limit = '{_MEMORY}'; SET max_expression_depth = {_MAX_DEPTH}")
    connection.execute("SET TimeZone = 'UTC'")  # a time without a zone means the same on every machine
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")
    return connection


def columns_of(connection: DuckDBPyConnection, where: str, columns: Iterable[str], *, owner: str) -> list[str]:
    """The columns that a condition needs, in lower case, each once.

    DuckDB parses the condition; nothing is evaluated.

    Args:
        connection: any connection.
        where: the condition.
        columns: all existing columns.
        owner: what has the columns, in the plural, for the message: "the tables".

    Raises:
        InputError: if it is not one expression of a row's values and functions of them, or names another column.
    """
    try:
        named = _named(connection.cursor(), where)
    except _NoConditionError as error:
        raise not_understood(where, str(error)) from error
    columns = list(columns)
    known = {name.lower() for name in columns}
    for name in named:
        if name.lower() not in known:
            unknown = unknown_column(name, columns, owner=owner)
            raise InputError(f"the condition {_short(where)} names {unknown}")
    return list(dict.fromkeys(name.lower() for name in named))


class _NoConditionError(Exception):
    """The text is not a condition; the message says why."""


def _named(connection: DuckDBPyConnection, where: str) -> list[str]:
    """The columns that a condition names, as it writes them."""
    if len(where) > MAX_LENGTH:
        raise _NoConditionError(f"it is {len(where)} characters long; at most {MAX_LENGTH} are allowed")
    _parsed(connection, where)  # refuses text that only the parentheses below complete: `1) OR (1`
    columns: dict[str, None] = {}
    variables: set[str] = set()  # of `x -> x > 1`
    for node in _nodes(_parsed(connection, f"({where}\n)")):  # refuses text after the condition: `1 LIMIT 5`
        kind = node["class"]
        if kind not in _ALLOWED:
            raise _NoConditionError(f"a {kind.lower()} is not allowed, only a row's values and functions of them")
        if kind == "COLUMN_REF":
            columns[node["column_names"][0]] = None  # the further names are fields of a struct
        elif kind == "LAMBDA":
            variables.update(name for part in _nodes(node["lhs"]) for name in part.get("column_names", ()))
        elif kind == "FUNCTION" and node["function_name"].lower() not in _functions():
            raise _NoConditionError(f"{node['function_name']} is not a function of a row's values")
    return [name for name in columns if name not in variables]


def _parsed(connection: DuckDBPyConnection, where: str) -> Any:
    """The syntax tree of a condition, as JSON values."""
    import duckdb

    query = "SELECT json_serialize_sql(?, skip_null := true, skip_empty := true)"
    try:
        ((found,),) = connection.execute(query, [f"SELECT 1 FROM rows WHERE {where}\n"]).fetchall()
        parsed = json.loads(found)
    except (duckdb.Error, RecursionError, UnicodeError) as error:
        raise _NoConditionError(first_line(error)) from error
    if parsed["error"]:
        raise _NoConditionError(parsed["error_message"].partition(". Use")[0])
    (statement,) = parsed["statements"]
    if not {"SELECT_NODE"} == {statement["node"]["type"]} or "where_clause" not in statement["node"]:
        raise _NoConditionError("it is more than a condition")
    return statement["node"]["where_clause"]


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """All objects with a `class` in a tree of JSON values, parents first."""
    left = [tree]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if "class" in value:
                yield value
            left.extend(reversed(value.values()))
        elif isinstance(value, list):
            left.extend(reversed(value))


@lru_cache(maxsize=1)
def _functions() -> frozenset[str]:
    """The functions whose result depends on their arguments only, and those of `_ALSO_ALLOWED`."""
    import duckdb

    query = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'scalar'"
    with duckdb.connect() as connection:
        found = connection.execute(f"{query} AND stability = 'CONSISTENT'").fetchall()
    # Names that begin with __ are internal. Arithmetic operators are functions too.
    return (frozenset(name for (name,) in found if not name.startswith("__")) | _ALSO_ALLOWED) - _REFUSED


def not_understood(where: str, reason: str) -> InputError:
    """The error for a condition that cannot be evaluated."""
    reason = " ".join(reason[:300].split())
    return InputError(
        f"the condition {_short(where)} is not understood as one SQL condition over the columns: {reason}"
    )


def unknown_column(name: str, columns: Iterable[str], *, owner: str) -> str:
    """The part of a message about a column that does not exist; it names similar columns, or all."""
    by_name = {name.lower(): name for name in columns}
    near = [by_name[near] for near in get_close_matches(name.lower(), by_name, cutoff=0.5)]
    hint = f"the nearest: {', '.join(near)}" if near else f"they have: {', '.join(by_name.values())}"
    return f"a column {_short(name)} that {owner} do not have; {hint}"


def _short(value: str) -> str:
    return repr(value if len(value) <= 200 else f"{value[:199]}…")


def identifier(name: str) -> str:
    """A column's name, quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def sql_text(value: str) -> str:
    """A text, quoted for SQL."""
    return "'" + value.replace("'", "''") + "'"

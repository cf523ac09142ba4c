"""A condition that a user wrote: one SQL expression over columns. DuckDB evaluates it, and it reaches nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation


@contextmanager
def locked_duckdb(setting: str, paths: Sequence[str]) -> Iterator[DuckDBPyConnection]:
    """A DuckDB that reads some paths and nothing else, no Python variable either, and cannot be unlocked.

    Args:
        setting: `allowed_paths` (files) or `allowed_directories`.
        paths: which ones.
    """
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(f"SET {setting} = [{', '.join(map(text, paths))}]; SET python_enable_replacements = false")
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        yield connection


def meeting(rows: DuckDBPyRelation, where: str) -> DuckDBPyRelation:
    """The rows that meet a condition; raises `duckdb.Error` where it is none, or more than one expression."""
    rows.filter(where)  # refuses what only the parentheses below would complete, as in `1) OR (1`
    # DuckDB 1.2 takes `a > 1 LIMIT 5` for `a > 1` and says nothing; in parentheses it is an error in all releases.
    return rows.filter(f"({where}\n)")


def what_is_wrong(where: str | None, columns: Sequence[str], error: Exception, *, owner: str) -> str:
    """A sentence about a condition that DuckDB refuses; for an unknown column it names the nearest ones.

    `owner` is what has the columns, in the plural: "the tables".
    """
    unknown = re.search(r'[Cc]olumn "(.+?)" not found', line(error))
    if not unknown:
        return f"the condition {where!r} is not understood as one SQL condition over the columns: {line(error)}"
    by_name = {name.lower(): name for name in columns}
    near = [by_name[name] for name in get_close_matches(unknown[1].lower(), by_name, cutoff=0.5)]
    hint = f"the nearest: {', '.join(near)}" if near else f"they have: {', '.join(by_name.values())}"
    return f"the condition {where!r} names a column {unknown[1]!r} that {owner} do not have; {hint}"


def identifier(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text as SQL."""
    return "'" + value.replace("'", "''") + "'"


def line(error: Exception) -> str:
    """An error's first line; the others are DuckDB's advice."""
    return str(error).splitlines()[0]

"""DuckDB connections that can reach nothing, and quoting for SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MAX_DEPTH = 100
# Memory for an evaluation in this process.
_MEMORY = "1GB"


def locked_duckdb(
    files: Sequence[str] = (), *, memory: str = _MEMORY, num_threads: int | None = None
) -> DuckDBPyConnection:
    """A DuckDB connection that can read the given files, but nothing else and no Python variable.

    Its configuration is locked, so that no statement can undo this.

    Args:
        files: what it can read.
        memory: what it may use, in DuckDB's words.
        num_threads: its threads; by default one per CPU core.
    """
    import duckdb

    connection = duckdb.connect()
    connection.execute(
        f"SET allowed_paths = [{', '.join(map(sql_text, files))}]; SET python_enable_replacements = false"
    )
    connection.execute(f"SET memory_limit = '{memory}'; SET max_expression_depth = {_MAX_DEPTH}")
    if num_threads:
        connection.execute(f"SET threads = {num_threads}")
    connection.execute("SET TimeZone = 'UTC'")  # a time without a zone means the same on every machine
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")
    return connection


def identifier(name: str) -> str:
    """A column's name, quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def sql_text(value: str) -> str:
    """A text, quoted for SQL."""
    return "'" + value.replace("'", "''") + "'"

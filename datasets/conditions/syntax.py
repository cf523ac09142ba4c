"""What a condition consists of: the columns that it names, and whether its form makes it cheap.

DuckDB parses the text; nothing is evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import first_line
from .messages import NoConditionError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# In characters. No person writes a longer condition, and a hostile one takes long to parse.
MAX_LENGTH = 20_000
# A text within these limits is parsed in milliseconds, whatever it is. DuckDB's parser takes minutes and gigabytes for
# ten thousand opening parentheses.
_SOON_PARSED_LENGTH, _SOON_PARSED_BRACKETS = 2_000, 100
# The parts of an expression over one row. Subqueries, windows, stars and parameters are not among them.
_ALLOWED = frozenset({
    "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "LAMBDA",
    "OPERATOR", "TYPE",
})  # fmt: skip
# A condition may depend on the date, but on nothing else outside the row.
_ALSO_ALLOWED = frozenset({"now", "today", "current_date", "get_current_timestamp", "nullif", "if"})
# What SQL writes without parentheses, so that it looks like a column.
VALUES = frozenset({"current_date", "current_timestamp"})
# These make a value whose size an argument decides, or take DuckDB's internal states.
_REFUSED = frozenset({
    "repeat", "range", "generate_series", "lpad", "rpad", "bar", "list_resize", "array_resize", "format", "printf",
    "bitstring", "combine", "create_sort_key", "finalize", "invoke", "index_key", "to_aggregate_state",
})  # fmt: skip

# What is cheap: its time and memory are a small multiple of those of reading the columns.
_CHEAP = frozenset({
    "BETWEEN", "CASE", "CAST", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "OPERATOR", "TYPE",
})  # fmt: skip
_CHEAP_OPERATORS = frozenset({
    "OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_COALESCE", "OPERATOR_NULLIF", "COMPARE_IN",
    "COMPARE_NOT_IN",
})  # fmt: skip
_CHEAP_TYPES = frozenset({
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT",
    "DOUBLE", "VARCHAR", "DATE", "TIME", "TIMESTAMP",
})  # fmt: skip
_CHEAP_FUNCTIONS = frozenset({
    "+", "-", "*", "/", "//", "%", "abs", "sign", "round", "floor", "ceil", "ceiling", "trunc", "sqrt", "ln",
    "log10", "greatest", "least", "if", "nullif", "isnan", "isfinite", "isinf", "length", "len", "strlen", "year",
    "month", "day", "date_part", "now", "today", "current_date", "get_current_timestamp",
})  # fmt: skip
# Cheap, but each makes a further copy of a text.
_COPYING = frozenset(
    {"lower", "upper", "lcase", "ucase", "trim", "ltrim", "rtrim", "left", "right", "substring", "substr"}
)
# Cheap, if what is looked for is a constant.
_SEARCHING = frozenset({"starts_with", "^@", "prefix", "ends_with", "suffix", "contains", "~~", "!~~", "~~*", "!~~*"})
_MAX_CHEAP_PARTS, _MAX_COPIES = 400, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Syntax:
    """What a condition consists of.

    Attributes:
        names: the columns that it names, as it writes them, each once.
        is_cheap: whether its form bounds the time and the memory for evaluating it.
    """

    names: tuple[str, ...]
    is_cheap: bool


def is_soon_parsed(where: str) -> bool:
    """Whether parsing a text takes little time and memory."""
    return len(where) <= _SOON_PARSED_LENGTH and sum(map(where.count, "([{")) <= _SOON_PARSED_BRACKETS


def parse(connection: DuckDBPyConnection, where: str) -> Syntax:
    """What a condition consists of.

    Args:
        connection: any connection.
        where: the condition.

    Raises:
        NoConditionError: if it is not one expression of a row's values and functions of them.
    """
    if len(where) > MAX_LENGTH:
        raise NoConditionError(f"it is {len(where)} characters long; at most {MAX_LENGTH} are allowed")
    if "\0" in where:
        raise NoConditionError("it has a NUL character")
    try:
        where.encode()
    except UnicodeEncodeError as error:
        raise NoConditionError(f"it has {where[error.start]!a}, which is half a character") from error
    _parsed(connection, where)  # refuses text that only the parentheses below complete: `1) OR (1`
    tree = _parsed(connection, f"({where}\n)")  # refuses text after the condition: `1 LIMIT 5`
    columns: dict[str, None] = {}
    variables: set[str] = set()  # of `x -> x > 1`
    for node in _nodes(tree):
        kind = node["class"]
        if kind not in _ALLOWED:
            raise NoConditionError(f"a {kind.lower()} is not allowed, only a row's values and functions of them")
        if kind == "COLUMN_REF":
            columns[node["column_names"][0]] = None  # the further names are fields of a struct
        elif kind == "LAMBDA":
            variables.update(name for part in _nodes(node["lhs"]) for name in part.get("column_names", ()))
        elif kind == "FUNCTION" and node["function_name"].lower() not in _functions():
            raise NoConditionError(f"{node['function_name']} is not a function of a row's values")
    return Syntax(names=tuple(name for name in columns if name not in variables), is_cheap=_is_cheap(tree))


def _parsed(connection: DuckDBPyConnection, where: str) -> Any:
    """The syntax tree of a condition, as JSON values."""
    import duckdb

    query = "SELECT json_serialize_sql(?, skip_null := true, skip_empty := true)"
    try:
        ((found,),) = connection.execute(query, [f"SELECT 1 FROM rows WHERE {where}\n"]).fetchall()
        parsed = json.loads(found)
    except RecursionError as error:
        raise NoConditionError("its parts are nested too deeply") from error
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise NoConditionError(first_line(error)) from error
    if parsed["error"]:
        message = parsed["error_message"].partition(". Use")[0]
        raise NoConditionError("it is more than one statement" if message.startswith("Only SELECT") else message)
    if len(parsed["statements"]) != 1:
        raise NoConditionError("it is more than one statement")
    (statement,) = parsed["statements"]
    if not {"SELECT_NODE"} == {statement["node"]["type"]} or "where_clause" not in statement["node"]:
        raise NoConditionError("it is more than a condition")
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


def _is_cheap(tree: Any) -> bool:
    """Whether a tree consists of few parts, all of them cheap."""
    num_copies = 0
    for number, node in enumerate(_nodes(tree)):
        kind = node["class"]
        if kind not in _CHEAP or number == _MAX_CHEAP_PARTS:
            return False
        if kind == "OPERATOR" and node["type"] not in _CHEAP_OPERATORS:
            return False
        if kind == "COLUMN_REF" and len(node["column_names"]) > 1:
            return False
        if kind == "CAST" and _type_name(node) not in _CHEAP_TYPES:
            return False
        if kind == "FUNCTION":
            name = node["function_name"].lower()
            num_copies += name in _COPYING
            if not (name in _CHEAP_FUNCTIONS or name in _COPYING or (name in _SEARCHING and _is_cheap_search(node))):
                return False
    return num_copies <= _MAX_COPIES


def _type_name(cast: dict[str, Any]) -> str | None:
    """The type of a cast; None where a version of DuckDB writes it in another way."""
    return cast.get("type_expr", {}).get("type_name") or cast.get("cast_type", {}).get("id")


def _is_cheap_search(node: dict[str, Any]) -> bool:
    """Whether a pattern is a constant that DuckDB matches in linear time.

    After each % that is not the last character, a pattern with _ is tried at every place, and so is a pattern of ILIKE.
    """
    pattern = _constant(_arguments(node)[-1])
    if pattern is None:
        return False
    if node["function_name"].endswith("~~*") or "_" in pattern:
        return pattern.rstrip("%").count("%") <= 1
    return True


def _arguments(node: dict[str, Any]) -> Sequence[dict[str, Any]]:
    given = node.get("arguments") or node.get("children") or [{}]
    return [argument.get("expression", argument) for argument in given]


def _constant(node: dict[str, Any]) -> str | None:
    """The text of a constant; None for any other part, and where a version of DuckDB writes it in another way."""
    if node.get("class") != "CONSTANT":
        return None
    text = node["literal"].get("text", "") if "literal" in node else node.get("value", {}).get("value")
    return text if isinstance(text, str) else None

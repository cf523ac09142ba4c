"""Two hundred conditions that reach for a file, for the session or for all of the memory."""

from __future__ import annotations

_READERS = (
    "read_csv", "read_csv_auto", "read_json", "read_json_auto", "read_parquet", "read_text", "read_blob",
    "parquet_scan", "parquet_metadata", "glob", "sniff_csv", "read_ndjson",
)  # fmt: skip
_READING = (
    "{0}('{{secret}}')", "{0}('{{secret}}') IS NULL", "EXISTS (SELECT * FROM {0}('{{secret}}'))",
    "key = (SELECT * FROM {0}('{{secret}}'))", "key IN (SELECT * FROM {0}('{{secret}}'))",
    "true OR {0}('{{secret}}') = 1", "(FROM {0}('{{secret}}')) IS NULL",
)  # fmt: skip
_STATEMENTS = (
    "DROP TABLE rows", "ATTACH '{secret}' AS x", "COPY (SELECT 1) TO '{folder}/written.csv'", "INSTALL httpfs",
    "LOAD httpfs", "SET enable_external_access = true", "SET lock_configuration = false", "PRAGMA version",
    "CREATE TABLE x (a INT)", "EXPORT DATABASE '{folder}/written'", "CALL pragma_version()",
    "INSERT INTO rows VALUES (1)", "UPDATE rows SET key = 'b'", "DELETE FROM rows", "VACUUM", "CHECKPOINT",
)  # fmt: skip
_SUBQUERIES = (
    "key = (SELECT 'a')", "EXISTS (SELECT 1)", "key IN (FROM '{secret}')", "EXISTS (FROM python_variable)",
    "EXISTS (SELECT * FROM duckdb_settings())", "EXISTS (SELECT * FROM information_schema.tables)",
)  # fmt: skip
_SESSION = (
    "current_setting('allowed_paths') = ''", "getenv('HOME') = '/'", "getvariable('x') = 1", "random() < 0.5",
    "uuid() = key", "sleep_ms(1000) IS NULL", "write_log('x') IS NULL", "setseed(0.5) IS NULL", "error('x')",
    "nextval('x') = 1", "current_database() = 'x'", "current_query() = ''",
)  # fmt: skip
_OF_MANY_ROWS = (
    "count(*) > 1", "sum(width) > 1", "max(key) = 'a'", "row_number() OVER () = 1", "unnest([1, 2]) = 1",
    "COLUMNS('.*') = 'a'", "* LIKE 'a'", "$1 = 1", "? = 1", "rows.key.x = 1", "rows = 'a'",
)  # fmt: skip
_NO_EXPRESSION = (
    "true LIMIT 1", "true UNION SELECT 1", "true ORDER BY key", "true GROUP BY key", "true) OR (true",
    "true)) OR ((true", "true, true", "true /* and so on", "", " ", "'", '"', ")", "(", "\\", "\x00", "-- true",
)  # fmt: skip
_ENORMOUS = (
    "'" + "x" * 1_000_000 + "' = key",
    "key = 'a' OR " * 50_000 + "true",
    "(" * 9_000 + "true" + ")" * 9_000,
    "NOT " * 4_000 + "true",
    "(-" * 5_000 + "1" + ")" * 5_000,
    "[" * 5_000 + "]" * 5_000,
    "CASE WHEN true THEN " * 400 + "true" + " END" * 400,
    "repeat(key, 4000000000) = 'a'",
    "len(range(0, 100000000000)) = 1",
    "lpad(key, 2000000000, 'x') = 'a'",
    "format('{{:2000000000}}', key) = 'a'",
)
_NO_TRUTH = ("key::INTEGER > 1", "key::DATE > 1", "key", "[key]")

CONDITIONS = (
    *(form.format(reader) for reader in _READERS for form in _READING),
    *(f"{start} {statement}" for statement in _STATEMENTS for start in ("true;", "", "true);", "(")),
    *(_SUBQUERIES + _SESSION + _OF_MANY_ROWS + _NO_EXPRESSION + _ENORMOUS + _NO_TRUTH),
)

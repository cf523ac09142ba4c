"""Tables of URLs (LAION, COYO, DataComp …) → the rows whose images will be downloaded, chosen by DuckDB.

The chosen rows are written once, below `.download` in the folder of the shards. A shard is a range of them, so a
download that was stopped continues with the same rows. `.download/request.json` says how they were chosen.
"""

from __future__ import annotations

import glob
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from ..conditions import (
    WHERE_SECONDS,
    Budget,
    Condition,
    chosen_rows,
    identifier,
    locked_duckdb,
    not_understood,
    understood,
)
from ..errors import InputError, first_line
from ..files import read_text, replacing, write_json
from ..names import IN_CONDITIONS, NAMES, TEXT_MEANINGS, Meaning, find_column, free_name

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation
    from duckdb.sqltypes import DuckDBPyType

log = logging.getLogger(__name__)

WORK = ".download"
# How img2dataset shrinks larger images: the shorter side (or the longer one) becomes `image_size`, a square is cut out,
# or the image keeps its size.
ResizeMode = Literal["keep_ratio", "keep_ratio_largest", "center_crop", "no"]

# img2dataset writes columns with these names, so columns of the table with these names become `table_<name>`.
_RESERVED = frozenset({
    "key", "caption", "url", "width", "height", "original_width", "original_height", "status", "error_message", "exif",
    "md5", "sha256", "sha512",
})  # fmt: skip
# How columns are passed on, by DuckDB's type. img2dataset writes a sample's columns as JSON, which has no dates or
# decimals, and loses samples that it cannot write. Other types (lists, bytes) are not scalars.
_INTEGERS = ("tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint")
_AS_DOUBLE = ("float", "double", "decimal")
_AS_TEXT = ("date", "time", "uuid", "enum", "interval", "hugeint", "uhugeint")
# A decimal of more digits would lose some as a double, so it becomes text.
_DOUBLE_DIGITS = 15
# urllib accepts ASCII only; browsers encode 大熊猫.jpg themselves.
_ENCODED_URL = (
    "CASE WHEN regexp_full_match({0}, '[!-~]*') THEN {0} "
    "ELSE array_to_string([if(c BETWEEN '!' AND '~', c, url_encode(c)) "
    r"FOR c IN string_split(trim({0}, E' \t\r\n'), '')], '') END"
)
# img2dataset reads a whole file of rows into memory.
_ROWS_PER_FILE = 1_000_000
# The time for a condition is for so many rows.
_ROWS_PER_BUDGET = 1_000_000
# No column of a table has this name.
_ANSWER = "_diantu_condition"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """All settings that decide what the shards hold. A stopped download continues only under the same request.

    `where` is one SQL condition over the tables' columns, by their own names or by url, caption, width, height,
    similarity, punsafe, pwatermark and aesthetic. `limit` is a number of rows, `image_size` a number of pixels.
    """

    where: str | None = None
    limit: int | None = None
    image_size: int = 384
    resize_mode: ResizeMode = "keep_ratio"
    images_per_shard: int = 10_000

    def __post_init__(self) -> None:
        for name in ("limit", "image_size", "images_per_shard"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name.replace('_', ' ')} {value} cannot be used; give 1 or more")
        allowed = get_args(ResizeMode)
        if self.resize_mode not in allowed:
            raise InputError(f"resize mode {self.resize_mode!r} is not known; allowed: {', '.join(allowed)}")


def find_tables(sources: Sequence[str]) -> list[Path]:
    """Finds the parquet files of some sources (files, folders, patterns). Those of a source are in the order of names.

    Raises:
        InputError: if a source matches no file.
    """
    tables: dict[Path, None] = {}
    for source in sources:
        path = Path(source)
        if path.is_dir():
            below = sorted(path.rglob("*.parquet"))
            # Not Spark's _temporary, and not the rows of an earlier download.
            found = [file for file in below if not any(p.startswith((".", "_")) for p in file.relative_to(path).parts)]
        else:
            found = [path] if path.is_file() else [Path(file) for file in sorted(glob.glob(source, recursive=True))]
        if not found:
            raise InputError(f"the source {source!r} matches no parquet file; name a local file, folder or pattern")
        tables.update(dict.fromkeys(file.resolve() for file in found))
    if not tables:
        raise InputError("no source was given; name a parquet file, a folder of them or a pattern")
    return list(tables)


def choose_rows(tables: Sequence[Path], request: Request, output: Path, *, where_timeout: float = WHERE_SECONDS) -> int:
    """Writes the rows to download into `.download/rows` below the output, unless an earlier run has done so.

    The rows have the column `url`, the column `caption` if the tables have captions, and every other scalar column.

    Args:
        tables: parquet files.
        request: which rows.
        output: the folder of the shards.
        where_timeout: seconds that the condition may take for each million rows. DuckDB evaluates what is cheap by its
            form while it reads the tables, without a limit.

    Returns:
        The number of rows.

    Raises:
        InputError: if the tables or the condition cannot be used, no row is left, or the output holds other shards.
    """
    path = output / WORK / "request.json"
    states = {str(table): [table.stat().st_size, table.stat().st_mtime_ns] for table in tables}
    wanted = {**asdict(request), "tables": states}
    if path.exists():
        earlier = json.loads(read_text(path))
        _refuse_other(earlier, wanted, output)
        return earlier["num_rows"]
    # img2dataset identifies shards by their numbers only, and treats every .json as one of its own files.
    if any(file.suffix in (".tar", ".json") for file in output.glob("*")):
        raise InputError(f"{output} holds .tar or .json files of another origin; give a new folder as the output")
    rows = output / WORK / "rows"
    shutil.rmtree(rows, ignore_errors=True)
    rows.mkdir(parents=True)
    num_rows = _choose(tables, request, rows, Budget(where_timeout))
    write_json(path, {**wanted, "num_rows": num_rows})  # last: without it the rows do not count
    return num_rows


def _refuse_other(earlier: Mapping[str, Any], wanted: Mapping[str, Any], output: Path) -> None:
    for name, value in wanted.items():
        if name == "tables" and earlier[name] != value:
            raise InputError(f"{output} was downloaded from other tables, or they have changed; give another output")
        if earlier[name] != value:
            raise InputError(
                f"{output} was downloaded with {name.replace('_', ' ')} {earlier[name]!r}, not {value!r}; "
                "give the same, or another output"
            )


def _choose(tables: Sequence[Path], request: Request, rows: Path, budget: Budget) -> int:
    """Writes the chosen rows as files, and returns their number.

    DuckDB can read only the tables. It streams, so the memory does not depend on their size.
    """
    import duckdb

    files = [str(table) for table in tables]
    with locked_duckdb(files) as connection:
        try:
            table = connection.read_parquet(files, union_by_name=True)
            num_all = table.aggregate("count(*)").fetchall()[0][0]
        except duckdb.Error as error:
            raise InputError(f"the tables cannot be read as parquet files of one kind: {first_line(error)}") from error
        names = _names(table)
        url = _ENCODED_URL.format(identifier(names["url"]))
        condition = None
        if request.where is not None:
            columns = [*table.columns, *names]
            condition = understood(connection, request.where, columns, owner="the tables", budget=budget)
        try:
            met = _met(connection, _with_meanings(table, names), condition, budget)
            num_met, num_urls = met.aggregate(f"count(*), count(nullif({url}, ''))").fetchall()[0]
        except duckdb.Error as error:
            raise not_understood(str(request.where), first_line(error)) from error
        num_rows = min(num_urls, request.limit or num_urls)
        counts = f"{num_all} rows, {num_met} of them meet the condition, {num_met - num_urls} of those have no URL"
        if not num_rows:
            raise InputError(f"there is nothing to download: {counts}; give another table or condition")
        log.info("%s; %d to download", counts, num_rows)
        columns = ", ".join([f"{url} AS url", *_passed_on(table, names)])
        chosen = met.filter(f"{url} <> ''").limit(num_rows).project(columns)
        shards_per_file = max(1, _ROWS_PER_FILE // request.images_per_shard)
        _write(pa.RecordBatchReader.from_stream(chosen), rows, shards_per_file * request.images_per_shard)
    return num_rows


def _names(table: DuckDBPyRelation) -> dict[Meaning, str]:
    """Meaning → the column that has it, for all meanings that the tables have."""
    columns = {name: kind.id for name, kind in zip(table.columns, table.types, strict=True)}
    names: dict[Meaning, str] = {}
    for meaning in IN_CONDITIONS:
        kinds = ("varchar",) if meaning in TEXT_MEANINGS else (*_INTEGERS, *_AS_DOUBLE)
        found = find_column((name for name, kind in columns.items() if kind in kinds), meaning)
        if found:
            names[meaning] = found
    if "url" not in names:
        raise InputError(
            f"the tables have no column of URLs among {', '.join(table.columns)}; "
            f"call the one that has them {' or '.join(NAMES['url'])}"
        )
    return names


def _with_meanings(table: DuckDBPyRelation, names: Mapping[Meaning, str]) -> DuckDBPyRelation:
    """The tables, with further columns for meanings that they call otherwise."""
    own = {name.lower() for name in table.columns}
    added = [f"{identifier(name)} AS {meaning}" for meaning, name in names.items() if meaning not in own]
    return table.project(", ".join(["*", *added]))


def _met(
    connection: DuckDBPyConnection, table: DuckDBPyRelation, condition: Condition | None, budget: Budget
) -> DuckDBPyRelation:
    """The rows that meet the condition, in their order."""
    if condition is None:
        return table
    if condition.is_cheap:
        return table.filter(f"({condition.text}\n)")
    # POSITIONAL JOIN puts the answers beside the rows: DuckDB reads tables in the order of their rows.
    needed = table.project(", ".join([*map(identifier, condition.columns), f"NULL AS {_ANSWER}"]))
    answers = _answers(connection, pa.RecordBatchReader.from_stream(needed), condition, budget)
    connection.register(_ANSWER, pa.table({_ANSWER: pa.chunked_array(answers, pa.bool_())}))
    met = table.query("rows", f"SELECT rows.* FROM rows POSITIONAL JOIN {_ANSWER} WHERE {_ANSWER}.{_ANSWER}")
    assert met is not None
    return met


def _answers(
    connection: DuckDBPyConnection, rows: pa.RecordBatchReader, condition: Condition, budget: Budget
) -> Iterator[pa.Array]:
    """For each row whether it meets the condition."""
    num_rows = 0
    for batch in rows:
        if num_rows + batch.num_rows > _ROWS_PER_BUDGET:
            budget.renew()
            num_rows = 0
        num_rows += batch.num_rows
        yield pa.array(chosen_rows(connection, condition, pa.Table.from_batches([batch]), "exclude", budget))


def _passed_on(table: DuckDBPyRelation, names: Mapping[Meaning, str]) -> Iterator[str]:
    """The columns besides the URL, as SQL. Columns that are not scalars are left out with a warning."""
    taken: set[str] = set(_RESERVED)
    left_out = []
    if "caption" in names:
        yield f"{identifier(names['caption'])} AS caption"
    for name, kind in zip(table.columns, table.types, strict=True):
        if name in (names["url"], names.get("caption")):
            continue
        cast = _cast(kind)
        if cast is None:
            left_out.append(name)
            continue
        yield f"{identifier(name)}{cast} AS {identifier(free_name(name, taken))}"
    if left_out:
        log.warning("columns that are not scalars are left out: %s", ", ".join(left_out))


def _cast(kind: DuckDBPyType) -> str | None:
    """The SQL cast for a column of one of DuckDB's types; None if it is not a scalar."""
    if kind.id in _INTEGERS or kind.id in ("boolean", "varchar"):
        return ""
    if kind.id == "decimal" and int(str(dict(kind.children)["precision"])) > _DOUBLE_DIGITS:
        return "::VARCHAR"
    if kind.id in _AS_DOUBLE:
        return "::DOUBLE"
    return "::VARCHAR" if kind.id.startswith(_AS_TEXT) else None


def _write(reader: pa.RecordBatchReader, folder: Path, rows_per_file: int) -> None:
    """Writes files of `rows_per_file` rows; only the last may have fewer, because only the last shard may be short."""
    batches = iter(reader)
    batch = next(batches, None)
    number = 0
    while batch is not None:
        room = rows_per_file
        path = folder / f"{number:05d}.parquet"
        with replacing(path) as temporary, pq.ParquetWriter(temporary, reader.schema) as writer:
            while batch is not None and room:
                writer.write_batch(batch.slice(0, room))
                rest = batch.slice(room)
                room -= min(room, batch.num_rows)
                batch = rest if rest.num_rows else next(batches, None)
        number += 1

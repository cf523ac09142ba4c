"""Tables of URLs (LAION, COYO, DataComp …) → the rows whose pictures are to be downloaded, chosen by DuckDB.

The rows are written down once, below `.download` in the folder of the shards: a shard is a range of them, so that a
download that was stopped goes on with the same ones. What they were chosen by is in `.download/request.json`.
"""

from __future__ import annotations

import glob
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..conditions import columns_of, identifier, locked_duckdb, not_understood
from ..errors import InputError, line
from ..files import write_json
from ..names import ALIASES

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

log = logging.getLogger(__name__)

WORK = ".download"
RESIZE_MODES = ("keep_ratio", "keep_ratio_largest", "center_crop", "no")

# img2dataset has columns of these names itself; the table's own are passed on as `table_<name>`.
_RESERVED = frozenset({
    "key", "caption", "url", "width", "height", "original_width", "original_height", "status", "error_message", "exif",
    "md5", "sha256", "sha512",
})  # fmt: skip
# How a column's type is passed on. img2dataset writes a sample's columns as JSON, which knows no dates or decimals, and
# loses samples that it cannot write. What is not here (lists, bytes) is no scalar.
_INTEGERS = ("tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint")
_AS_DOUBLE = ("float", "double", "decimal", "hugeint", "uhugeint")
_AS_TEXT = ("date", "time", "uuid", "enum", "interval")
# urllib takes ASCII only; browsers encode 大熊猫.jpg themselves.
_ENCODED_URL = (
    "CASE WHEN regexp_full_match({0}, '[!-~]*') THEN {0} "
    "ELSE array_to_string([if(c BETWEEN '!' AND '~', c, url_encode(c)) "
    r"FOR c IN string_split(trim({0}, E' \t\r\n'), '')], '') END"
)
# img2dataset reads a file of rows into memory as a whole.
_ROWS_PER_FILE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """All that decides what the shards hold; a download only goes on under the same request.

    `where` is one SQL condition over the tables' columns, by their own names or by url, caption, width, height,
    similarity, punsafe, pwatermark and aesthetic. `limit` is a number of rows.
    """

    where: str | None = None
    limit: int | None = None
    image_size: int = 384
    resize_mode: str = "keep_ratio"
    images_per_shard: int = 10_000

    def __post_init__(self) -> None:
        for name in ("limit", "image_size", "images_per_shard"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name.replace('_', ' ')} {value} cannot be used; give 1 or more")
        if self.resize_mode not in RESIZE_MODES:
            raise InputError(f"resize mode {self.resize_mode!r} is not known; allowed: {', '.join(RESIZE_MODES)}")


def find_tables(sources: Sequence[str]) -> list[Path]:
    """Finds the parquet files of some sources (files, folders, patterns), each source's in the order of their names.

    Raises:
        InputError: if a source matches none.
    """
    tables: dict[Path, None] = {}
    for source in sources:
        path = Path(source)
        if path.is_dir():
            below = sorted(path.rglob("*.parquet"))
            # Spark's _temporary, and the rows of our own downloads
            found = [file for file in below if not any(p.startswith((".", "_")) for p in file.relative_to(path).parts)]
        else:
            found = [path] if path.is_file() else [Path(file) for file in sorted(glob.glob(source, recursive=True))]
        if not found:
            raise InputError(f"the source {source!r} matches no parquet file; name a local file, folder or pattern")
        tables.update(dict.fromkeys(file.resolve() for file in found))
    if not tables:
        raise InputError("no source was given; name a parquet file, a folder of them or a pattern")
    return list(tables)


def choose_rows(tables: Sequence[Path], request: Request, output: Path) -> int:
    """Writes the rows to download into `.download/rows` below the output, unless an earlier run did; counts them.

    They have the columns `url` and, where there are captions, `caption`, and every other scalar column of the tables.

    Raises:
        InputError: if the tables or the condition cannot be used, no row is left, or the output holds other shards.
    """
    path = output / WORK / "request.json"
    states = {str(table): [table.stat().st_size, table.stat().st_mtime_ns] for table in tables}
    wanted = {**asdict(request), "tables": states}
    if path.exists():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        _refuse_other(earlier, wanted, output)
        return earlier["num_rows"]
    # img2dataset goes by the numbers of shards alone, and takes every .json for one of its own.
    if any(file.suffix in (".tar", ".json") for file in output.glob("*")):
        raise InputError(f"{output} holds .tar or .json files of another origin; give a new folder as the output")
    rows = output / WORK / "rows"
    shutil.rmtree(rows, ignore_errors=True)
    rows.mkdir(parents=True)
    num_rows = _choose(tables, request, rows)
    write_json(path, {**wanted, "num_rows": num_rows})
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


def _choose(tables: Sequence[Path], request: Request, rows: Path) -> int:
    """DuckDB reads the tables and nothing else, and streams: memory does not grow with them."""
    import duckdb

    files = [str(table) for table in tables]
    with locked_duckdb(files) as connection:
        try:
            table = connection.read_parquet(files, union_by_name=True)
            num_all = table.aggregate("count(*)").fetchall()[0][0]
        except duckdb.Error as error:
            raise InputError(f"the tables cannot be read as parquet files of one kind: {line(error)}") from error
        names = _names(table)
        url = _ENCODED_URL.format(identifier(names["url"]))
        if request.where is not None:
            columns_of(connection, request.where, [*table.columns, *names], owner="the tables")
        try:
            met = _filter(table, names, request.where)
            num_met, num_urls = met.aggregate(f"count(*), count(nullif({url}, ''))").fetchall()[0]
        except duckdb.Error as error:
            raise not_understood(str(request.where), line(error)) from error
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


def _names(table: DuckDBPyRelation) -> dict[str, str]:
    """Canonical name → the tables' own name, for what they have.

    Scores are numbers: LAION's NSFW, which says UNLIKELY, UNSURE or NSFW, is no punsafe.
    """
    columns = {name.lower(): (name, kind.id) for name, kind in zip(table.columns, table.types, strict=True)}
    names: dict[str, str] = {}
    for canonical, aliases in ALIASES.items():
        kinds = ("varchar",) if canonical in ("url", "caption") else (*_INTEGERS, *_AS_DOUBLE)
        found = [columns[alias][0] for alias in aliases if alias in columns and columns[alias][1] in kinds]
        if found:
            names[canonical] = found[0]
    if "url" not in names:
        raise InputError(
            f"the tables have no column of URLs among {', '.join(table.columns)}; "
            f"call the one that has them {' or '.join(ALIASES['url'])}"
        )
    return names


def _filter(table: DuckDBPyRelation, names: Mapping[str, str], where: str | None) -> DuckDBPyRelation:
    own = {name.lower() for name in table.columns}
    added = [f"{identifier(name)} AS {canonical}" for canonical, name in names.items() if canonical not in own]
    table = table.project(", ".join(["*", *added]))
    return table if where is None else table.filter(f"({where}\n)")


def _passed_on(table: DuckDBPyRelation, names: Mapping[str, str]) -> Iterator[str]:
    """The columns beside the URL, as SQL; those that are no scalars are left out, which is said."""
    taken: set[str] = set(_RESERVED)
    left_out = []
    if "caption" in names:
        yield f"{identifier(names['caption'])} AS caption"
    for name, kind in zip(table.columns, table.types, strict=True):
        if name in (names["url"], names.get("caption")):
            continue
        cast = _cast(kind.id)
        if cast is None:
            left_out.append(name)
            continue
        new_name = name
        while new_name.lower() in taken:
            new_name = f"table_{new_name}"
        taken.add(new_name.lower())
        yield f"{identifier(name)}{cast} AS {identifier(new_name)}"
    if left_out:
        log.warning("columns that are no scalars are left out: %s", ", ".join(left_out))


def _cast(kind: str) -> str | None:
    if kind in _INTEGERS or kind in ("boolean", "varchar"):
        return ""
    if kind in _AS_DOUBLE:
        return "::DOUBLE"
    return "::VARCHAR" if kind.startswith(_AS_TEXT) else None


def _write(reader: pa.RecordBatchReader, folder: Path, rows_per_file: int) -> None:
    """Writes files of `rows_per_file` rows, the last one of fewer: no shard but the last may be short."""
    batches = iter(reader)
    batch = next(batches, None)
    number = 0
    while batch is not None:
        room = rows_per_file
        with pq.ParquetWriter(folder / f"{number:05d}.parquet", reader.schema) as writer:
            while batch is not None and room:
                writer.write_batch(batch.slice(0, room))
                rest = batch.slice(room)
                room -= min(room, batch.num_rows)
                batch = rest if rest.num_rows else next(batches, None)
        number += 1

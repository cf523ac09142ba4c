"""A source as users write it (`shards/{00000..00099}.tar`, `*.tar`, a folder, an fsspec URI) → a list of shards."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import bracex
import fsspec
from fsspec import AbstractFileSystem

from .errors import InputError
from .readers.captions import count_rows, find_table, has_captions, read_table
from .readers.folder import is_picture
from .readers.formats import FORMATS
from .types import Shard

log = logging.getLogger(__name__)

_STATS = "_stats.json"  # img2dataset writes NNNNN_stats.json when shard NNNNN is finished
_GLOB = frozenset("*?[")
# A range such as {00000..99999999} is a typing error, and must not fill the memory.
_MAX_BRACES = 1_000_000


def find_shards(sources: str | Sequence[str], *, captions: str = "auto") -> list[Shard]:
    """Finds the shards of one or several sources, each source's shards in the order of their names.

    Args:
        sources: tars (also `.tar.gz`), parquet files with pictures, patterns of them with `{…}`, `*`, `?` or `[…]`,
            folders of them, or folders of pictures (searched with their subfolders; one shard each, which a job
            splits). Any of them as a path or as a URI that fsspec knows, say `s3://bucket/shards/*.tar`.
        captions: for folders of pictures, the CSV or JSONL table of captions; `auto` takes the one table at the
            folder's top that names most of its pictures, `none` takes no table.

    Raises:
        InputError: if a source is empty, missing, or of a kind that is not known.
    """
    shards: dict[str, Shard] = {}
    for source in [sources] if isinstance(sources, str) else sources:
        for shard in _shards_of(source, captions):
            shards.setdefault(shard.id, shard)
    if not shards:
        raise InputError("no source was given; name tars ('shards/{00000..00099}.tar') or a folder of pictures")
    if captions not in ("auto", "none") and not any(shard.captions for shard in shards.values()):
        raise InputError(f"the table {captions} is for folders of pictures, and none was given; leave out --captions")
    return list(shards.values())


def _shards_of(source: str, captions: str) -> list[Shard]:
    filesystem, path = _resolve(source)
    if filesystem.isdir(path):
        return _folder(filesystem, path, captions)
    paths = [path] if filesystem.isfile(path) else _expand(filesystem, source)
    return [_file(filesystem, path) for path in _finished(filesystem, paths, source)]


def _resolve(source: str) -> tuple[AbstractFileSystem, str]:
    try:
        filesystem, path = fsspec.core.url_to_fs(source)
    except (ValueError, ImportError) as error:
        raise InputError(f"the source {source!r} cannot be opened: {error}") from error
    return filesystem, path.rstrip("/") or path


def _expand(filesystem: AbstractFileSystem, source: str) -> list[str]:
    try:
        patterns = [_resolve(p)[1] for p in bracex.expand(source, limit=_MAX_BRACES)]
    except bracex.ExpansionLimitException as error:
        raise InputError(f"the source {source!r} stands for more than {_MAX_BRACES} files; narrow its range") from error
    found: list[str] = []
    missing: list[str] = []
    for pattern in patterns:
        if _GLOB & set(pattern):
            matches = [str(p) for p in filesystem.glob(pattern)]
        else:
            matches = [pattern] if filesystem.isfile(pattern) else []
        found += sorted(matches, key=_natural)
        missing += [] if matches else [pattern]
    if not found:
        raise InputError(f"the source {source!r} matches nothing; name tars or a folder of pictures that exist")
    if missing:
        some = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        raise InputError(
            f"{len(missing)} of the {len(patterns)} files that {source!r} stands for do not exist ({some}); "
            "name those that do, or use '*' to take whatever is there"
        )
    return found


def _file(filesystem: AbstractFileSystem, path: str) -> Shard:
    kind = next((kind for ending, kind in FORMATS.items() if path.lower().endswith(ending)), None)
    if kind is None:
        allowed = ", ".join(FORMATS)
        raise InputError(f"{path} is neither a shard ({allowed}) nor a folder of pictures; nothing else can be read")
    return Shard(uri=_uri(filesystem, path), format=kind, size_bytes=filesystem.size(path) or 0)


def _finished(filesystem: AbstractFileSystem, paths: list[str], source: str) -> list[str]:
    """The shards that img2dataset has finished, by its `_stats.json`; all of them where it has not been at work."""
    stats: dict[str, set[str]] = {}
    for folder in {path.rpartition("/")[0] for path in paths}:
        names = (str(name).rpartition("/")[2] for name in filesystem.ls(folder, detail=False))
        stats[folder] = {name.removesuffix(_STATS) for name in names if name.endswith(_STATS)}

    def is_finished(path: str) -> bool:
        folder, _, name = path.rpartition("/")
        return not stats[folder] or name.partition(".")[0] in stats[folder]

    unfinished = [path for path in paths if not is_finished(path)]
    if unfinished:
        some = ", ".join(unfinished[:3]) + (", …" if len(unfinished) > 3 else "")
        log.warning("img2dataset has not finished %d shards, which are left alone: %s", len(unfinished), some)
    if paths and len(unfinished) == len(paths):
        raise InputError(f"img2dataset has finished none of the shards of {source!r}; wait until it has")
    return [path for path in paths if is_finished(path)]


def _natural(path: str) -> list[tuple[bool, int, str]]:
    """Sorts numbers in names as numbers: 99999.tar comes before 100000.tar."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", path)]


def _folder(filesystem: AbstractFileSystem, path: str, captions: str) -> list[Shard]:
    found: Any = filesystem.find(path, detail=True)
    sizes: dict[str, int] = {
        name[len(path) :].lstrip("/"): info.get("size") or 0
        for name, info in found.items()
        if info.get("type") == "file"
    }
    pictures = _of_finished_folders(path, sizes)
    shards = {ending: [name for name in sizes if name.lower().endswith(ending)] for ending in FORMATS}
    tars = shards[".tar"] + shards[".tar.gz"] + shards[".tgz"]
    # img2dataset puts a parquet file beside each tar and each folder, which then is no shard of its own.
    names = sorted(tars or ([] if pictures else shards[".parquet"]), key=_natural)
    if not names and not pictures:
        raise InputError(f"the folder {path} holds neither tars nor pictures nor parquet files; name one that does")
    if names and pictures:
        log.warning("%s holds %d pictures and %d tars; both are embedded", path, len(pictures), len(names))
    files = [_file(filesystem, name) for name in _finished(filesystem, [f"{path}/{name}" for name in names], path)]
    return [*files, _folder_of_pictures(filesystem, path, sizes, pictures, captions)] if pictures else files


def _folder_of_pictures(
    filesystem: AbstractFileSystem, path: str, sizes: Mapping[str, int], pictures: list[str], captions: str
) -> Shard:
    stems = {name.rpartition(".")[0] for name in pictures}
    sidecars = {name for name in sizes if name.endswith((".txt", ".json")) and name.rpartition(".")[0] in stems}
    uri = _uri(filesystem, path)
    by_name = len({name.rpartition("/")[2] for name in pictures}) == len(pictures)
    table = _table_for(uri, pictures, captions, by_name)
    _report_others(path, sizes.keys() - set(pictures) - sidecars - {(table or "").rpartition("/")[2]})
    size = sum(sizes[name] for name in pictures)
    return Shard(
        uri=uri, format="folder", size_bytes=size, members=tuple(pictures), captions=table, has_unique_names=by_name
    )


def _of_finished_folders(path: str, names: Iterable[str]) -> list[str]:
    """The pictures, less those in folders that img2dataset (its `files` layout) has not finished."""
    names = list(names)
    finished = {name.removesuffix(_STATS) for name in names if "/" not in name and name.endswith(_STATS)}
    pictures = sorted(name for name in names if is_picture(name))
    if not finished:
        return pictures
    unfinished = {name.partition("/")[0] for name in pictures if "/" in name} - finished
    if unfinished:
        some = ", ".join(sorted(unfinished)[:3])
        log.warning("%s: img2dataset has not finished %d folders, left alone: %s", path, len(unfinished), some)
    return [name for name in pictures if name.partition("/")[0] not in unfinished]


def _table_for(folder: str, pictures: Sequence[str], captions: str, by_name: bool) -> str | None:
    if captions == "none":
        return None
    table = find_table(folder, pictures, by_name=by_name) if captions == "auto" else _uri(*_resolve(captions))
    if table is None:
        return None
    num_found = count_rows(table, pictures, by_name=by_name)
    if not num_found:
        raise InputError(f"the table {table} names none of the pictures of {folder}; its paths must be relative to it")
    log.info("captions of %s: from %s, which names %d of %d pictures", folder, table, num_found, len(pictures))
    if not has_captions(read_table(table)):
        log.warning("%s has no column caption, text or alt: its columns become metadata, captions stay empty", table)
    return table


def _report_others(path: str, names: Iterable[str]) -> None:
    counts = Counter("." + name.rpartition(".")[2].lower() if "." in name else "no ending" for name in names)
    if counts:
        kinds = ", ".join(f"{count} {ending}" for ending, count in counts.most_common(8))
        log.info("%s: files that are not pictures by their ending are not embedded: %s", path, kinds)


def _uri(filesystem: AbstractFileSystem, path: str) -> str:
    """A path as it is written down: bare for local files, with its protocol for others."""
    protocols = filesystem.protocol if isinstance(filesystem.protocol, tuple) else (filesystem.protocol,)
    return path if "file" in protocols else filesystem.unstrip_protocol(path)

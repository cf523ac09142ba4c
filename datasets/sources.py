"""A source as users write it (`shards/{00000..00099}.tar`, `*.tar`, a folder, an fsspec URI) → a list of shards."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import bracex
import fsspec
from fsspec import AbstractFileSystem

from .captions import find_table, read_table
from .folder import is_picture
from .types import InputError, Shard

log = logging.getLogger(__name__)

_GLOB = frozenset("*?[")
# A range such as {00000..99999999} is a typing error, and must not fill the memory.
_MAX_BRACES = 1_000_000


def find_shards(sources: Sequence[str], *, captions: str = "auto") -> list[Shard]:
    """Finds the shards of one or several sources, each source's shards in the order of their names.

    Args:
        sources: tars, patterns of tars with `{…}`, `*`, `?` or `[…]`, folders of tars, or folders of pictures
            (searched with their subfolders; one shard each, which a job splits).
        captions: for folders of pictures, the CSV or JSONL table of captions; `auto` takes the one table at the
            folder's top that names most of its pictures, `none` takes no table.

    Raises:
        InputError: if a source is empty, missing, or of a kind that is not known.
    """
    shards: dict[str, Shard] = {}
    for source in sources:
        for shard in _shards_of(source, captions):
            shards.setdefault(shard.id, shard)
    if not shards:
        raise InputError("no source was given; name tars ('shards/{00000..00099}.tar') or a folder of pictures")
    return list(shards.values())


def _shards_of(source: str, captions: str) -> list[Shard]:
    filesystem, path = _resolve(source)
    if filesystem.isdir(path):
        return _folder(filesystem, path, captions)
    paths = [path] if filesystem.isfile(path) else _expand(filesystem, source)
    return [_tar(filesystem, path) for path in paths]


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
        found += sorted(matches)
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


def _tar(filesystem: AbstractFileSystem, path: str) -> Shard:
    if not path.lower().endswith(".tar"):
        raise InputError(f"{path} is neither a .tar nor a folder of pictures; these are the sources that can be read")
    return Shard(uri=_uri(filesystem, path), format="webdataset", size_bytes=filesystem.size(path) or 0)


def _folder(filesystem: AbstractFileSystem, path: str, captions: str) -> list[Shard]:
    found: Any = filesystem.find(path, detail=True)
    sizes: dict[str, int] = {
        name[len(path) :].lstrip("/"): info.get("size") or 0
        for name, info in found.items()
        if info.get("type") == "file"
    }
    pictures = sorted(name for name in sizes if is_picture(name))
    tars = sorted(name for name in sizes if "/" not in name and name.lower().endswith(".tar"))
    if tars and pictures:
        raise InputError(
            f"{path} holds both tars and pictures; name the tars as '{path}/*.tar', or a folder of one kind"
        )
    if tars:
        return [_tar(filesystem, f"{path}/{name}") for name in tars]
    if not pictures:
        raise InputError(f"the folder {path} holds neither tars nor pictures; name one that does")
    _report_others(path, sizes.keys() - set(pictures))
    uri = _uri(filesystem, path)
    table = _table_for(uri, pictures, captions)
    size = sum(sizes[name] for name in pictures)
    return [Shard(uri=uri, format="folder", size_bytes=size, members=tuple(pictures), captions=table)]


def _table_for(folder: str, pictures: Sequence[str], captions: str) -> str | None:
    if captions == "none":
        return None
    if captions == "auto":
        table = find_table(folder, pictures)
        if table:
            log.info("captions of %s: from %s", folder, table)
        return table
    read_table(captions)  # an unusable table is an error now, not in the middle of the job
    return _uri(*_resolve(captions))


def _report_others(path: str, names: Iterable[str]) -> None:
    counts = Counter("." + name.rpartition(".")[2].lower() if "." in name else "no ending" for name in names)
    if counts:
        kinds = ", ".join(f"{count} {ending}" for ending, count in counts.most_common(8))
        log.info("%s: files that are not pictures by their ending are not embedded: %s", path, kinds)


def _uri(filesystem: AbstractFileSystem, path: str) -> str:
    """A path as it is written down: bare for local files, with its protocol for others."""
    protocols = filesystem.protocol if isinstance(filesystem.protocol, tuple) else (filesystem.protocol,)
    return path if "file" in protocols else filesystem.unstrip_protocol(path)

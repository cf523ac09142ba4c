"""Sources as users write them (`shards/{00000..00099}.tar`, `*.tar`, a folder, an fsspec URI) → a list of shards."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import bracex
from fsspec import AbstractFileSystem

from .decoding import is_image_name
from .errors import InputError
from .places import resolve, written
from .readers.folder import READER as FOLDER
from .readers.folder import files_of, find_files
from .readers.formats import endings, reader_of_file, readers_that_fail
from .readers.sidecars import is_sidecar
from .tables import FoldedNames, choose_tables
from .text import is_unicode, valid_text
from .types import Shard

log = logging.getLogger(__name__)

_STATS = "_stats.json"  # img2dataset writes NNNNN_stats.json when shard NNNNN is finished
_GLOB = frozenset("*?[")
# A range such as {00000..99999999} is a typing error and must not fill the memory.
_MAX_BRACES = 1_000_000
# Of fewer files, each is asked for by itself.
_FEW = 16


def find_shards(sources: str | Sequence[str], *, captions: str = "auto") -> list[Shard]:
    """Finds the shards of one or several sources. The shards of a source are in the order of their names.

    Args:
        sources: tars (also `.tar.gz`), parquet files with images, or files that an installed extension reads; patterns
            of them with `{…}`, `*`, `?` or `[…]`; folders of them; or folders of images (searched with their
            subfolders; one shard each, which a job splits). Each may be a path or a URI that fsspec knows, say
            `s3://bucket/shards/*.tar`.
        captions: for folders of images: the path or URI of a CSV or JSONL table of captions; or "auto" for the tables
            in the folder and its subfolders, each the only one of its folder that names most of the images there; or
            "none" for no table.

    Raises:
        InputError: if a source is empty, missing, or of an unknown kind.
    """
    shards: dict[str, Shard] = {}
    for source in [sources] if isinstance(sources, str) else sources:
        for shard in _shards_of(source, captions):
            shards.setdefault(shard.id, shard)
    if not shards:
        raise InputError("no source was given; name tars ('shards/{00000..00099}.tar') or a folder of images")
    if captions not in ("auto", "none") and not any(shard.captions for shard in shards.values()):
        raise InputError(f"the table {captions} is for folders of images, and none was given; leave out --captions")
    return list(shards.values())


def _shards_of(source: str, captions: str) -> list[Shard]:
    filesystem, path = _resolve(source)
    if filesystem.isdir(path):
        return _folder(filesystem, path, source, captions)
    sizes = _Sizes(filesystem)
    paths = [path] if filesystem.isfile(path) else _expand(filesystem, source, sizes)
    finished = _finished(filesystem, paths, source)
    return [_file(filesystem, path, source, sizes.of(path) or 0) for path in finished]


def _resolve(source: str) -> tuple[AbstractFileSystem, str]:
    try:
        filesystem, path = resolve(source)
    except (ValueError, ImportError) as error:
        raise InputError(f"the source {source!r} cannot be opened: {error}") from error
    return filesystem, path.rstrip("/") or path


def _expand(filesystem: AbstractFileSystem, source: str, sizes: _Sizes) -> list[str]:
    try:
        patterns = [_resolve(p)[1] for p in bracex.expand(source, limit=_MAX_BRACES)]
    except bracex.ExpansionLimitException as error:
        raise InputError(f"the source {source!r} stands for more than {_MAX_BRACES} files; narrow its range") from error
    found: list[str] = []
    missing: list[str] = []
    if len(patterns) > _FEW:
        sizes.list_folders_of(patterns)
    for pattern in patterns:
        if _GLOB & set(pattern):
            matches = [str(p) for p in filesystem.glob(pattern)]
            sizes.list_folders_of(matches if len(matches) > _FEW else ())
        else:
            matches = [pattern] if sizes.of(pattern) is not None else []
        found += sorted(matches, key=_natural)
        missing += [] if matches else [pattern]
    if not found:
        raise InputError(f"the source {source!r} matches nothing; name tars or a folder of images that exist")
    if missing:
        some = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        raise InputError(
            f"{len(missing)} of the {len(patterns)} files that {source!r} stands for do not exist ({some}); "
            "name existing files only, or use '*' to take all that exist"
        )
    return found


class _Sizes:
    """The sizes of files. Where many are asked for, their folders are listed once: a request takes a while remotely."""

    def __init__(self, filesystem: AbstractFileSystem) -> None:
        self._filesystem = filesystem
        self._listed: dict[str, dict[str, int]] = {}  # by folder, then by path

    def list_folders_of(self, paths: Iterable[str]) -> None:
        """Lists the folders that some files are in, unless they have been listed or cannot be."""
        for folder in dict.fromkeys(path.rpartition("/")[0] for path in paths):
            if folder not in self._listed:
                with suppress(OSError):  # a file of it may be readable all the same
                    self._listed[folder] = files_of(self._filesystem, folder)

    def of(self, path: str) -> int | None:
        """The size of a file in bytes; None if there is no such file."""
        listed = self._listed.get(path.rpartition("/")[0])
        if listed is not None and path in listed:
            return listed[path]
        return _size(self._filesystem, path) if self._filesystem.isfile(path) else None


def _file(filesystem: AbstractFileSystem, path: str, source: str, size: int) -> Shard:
    reader = reader_of_file(path)
    if reader is None:
        if problems := readers_that_fail():
            raise problems[0]
        allowed = ", ".join(endings())
        raise InputError(f"{path} is neither a shard ({allowed}) nor a folder of images; nothing else can be read")
    return Shard(uri=_uri(filesystem, path, source), format=reader.format, size_bytes=size)


def _uri(filesystem: AbstractFileSystem, path: str, source: str) -> str:
    uri = written(filesystem, path, source)
    if not is_unicode(uri):
        raise InputError(f"the name of {valid_text(uri)} is not valid UTF-8; rename the file or the folder")
    return uri


def _size(filesystem: AbstractFileSystem, path: str) -> int:
    try:
        return filesystem.size(path) or 0
    except OSError:  # a link that leads nowhere: the scan says so, and the job lists the shard
        return 0


def _finished(filesystem: AbstractFileSystem, paths: list[str], source: str) -> list[str]:
    """The shards that img2dataset has finished, by its `_stats.json`; all shards of folders without such files.

    Raises:
        InputError: if none of them is finished.
    """
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
        log.warning("img2dataset has not finished %d shards, which are left out: %s", len(unfinished), some)
    if paths and len(unfinished) == len(paths):
        raise InputError(f"img2dataset has finished none of the shards of {source!r}; wait until it has")
    return [path for path in paths if is_finished(path)]


def _natural(path: str) -> list[tuple[bool, int, str]]:
    """A sort key that treats numbers in names as numbers: 99999.tar comes before 100000.tar."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", path)]


def _folder(filesystem: AbstractFileSystem, path: str, source: str, captions: str) -> list[Shard]:
    sizes = find_files(filesystem, path)
    images = _of_finished_folders(path, sizes)
    names = _shards_among(sizes, beside_images=bool(images))
    if not names and not images:
        raise InputError(f"the folder {path} holds no shards ({', '.join(endings())}) and no images; name another one")
    if names and images:
        log.warning("%s holds %d images and %d other shards; all are embedded", path, len(images), len(names))
    paths = {f"{path}/{name}": sizes[name] for name in names}
    files = [_file(filesystem, file, source, paths[file]) for file in _finished(filesystem, list(paths), path)]
    return [*files, _folder_of_images(_uri(filesystem, path, source), sizes, images, captions)] if images else files


def _shards_among(names: Iterable[str], *, beside_images: bool) -> list[str]:
    """The files that are shards of their own, in the order of their names."""
    readers = {name: reader_of_file(name) for name in names if not is_image_name(name)}
    found = {name: reader for name, reader in readers.items() if reader is not None}
    first = [name for name, reader in found.items() if reader.counts_beside_others]
    return sorted(first or ([] if beside_images else found), key=_natural)


def _folder_of_images(uri: str, sizes: Mapping[str, int], images: list[str], captions: str) -> Shard:
    stems = FoldedNames(name.rpartition(".")[0] for name in images)
    by_name = len({name.rpartition("/")[2] for name in images}) == len(images)
    named = captions if captions in ("auto", "none") else written(*_resolve(captions), captions)
    tables = choose_tables(uri, images, sizes, named, by_name=by_name)
    used = {*images, *(table.removeprefix(f"{uri}/") for table in tables)}
    _report_others(uri, (name for name in sizes if name not in used and not is_sidecar(name, stems)))
    return Shard(
        uri=uri,
        format=FOLDER.format,
        size_bytes=sum(sizes[name] for name in images),
        members=tuple(images),
        captions=tables,
        has_unique_names=by_name,
    )


def _of_finished_folders(path: str, names: Iterable[str]) -> list[str]:
    """The images, except those in folders that img2dataset (its `files` layout) has not finished."""
    names = list(names)
    finished = {name.removesuffix(_STATS) for name in names if "/" not in name and name.endswith(_STATS)}
    images = sorted(name for name in names if is_image_name(name))
    if not finished:
        return images
    unfinished = {name.partition("/")[0] for name in images if "/" in name} - finished
    if unfinished:
        some = ", ".join(sorted(unfinished)[:3])
        log.warning("%s: img2dataset has not finished %d folders, which are left out: %s", path, len(unfinished), some)
    return [name for name in images if name.partition("/")[0] not in unfinished]


def _report_others(path: str, names: Iterable[str]) -> None:
    counts = Counter("." + name.rpartition(".")[2].lower() if "." in name else "no ending" for name in names)
    if counts:
        kinds = ", ".join(f"{count} {ending}" for ending, count in counts.most_common(8))
        log.info("%s: files whose ending is not that of an image are not embedded: %s", path, kinds)

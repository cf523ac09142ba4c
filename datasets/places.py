"""Where files are: a path or a URI → the filesystem of fsspec and the path in it, and back.

fsspec reads every `::` as the joint of a chained URL (filesystem_spec issue 1782), but `std::vector/a.png` is a name.
Here a URL is a chain only if it begins with a protocol that needs another one behind it (`zip://a.png::s3://b/c.zip`,
`simplecache::s3://b/c.tar`) and no local file has that name.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import fsspec
from fsspec import AbstractFileSystem

_JOINT = "::"
# Archives, then caches and views: filesystems that show what is inside another one.
_ARCHIVES = frozenset({"zip", "tar", "libarchive", "reference"})
_VIEWS = frozenset({"simplecache", "filecache", "blockcache", "cached", "dir", "asyncwrapper", "async_wrapper"})


def resolve(uri: str) -> tuple[Any, str]:
    """The filesystem (of fsspec) of a path or URI, and the path in that filesystem.

    Raises:
        ValueError: if the protocol is unknown.
        ImportError: if the package of the protocol is not installed.
    """
    if _JOINT not in uri and uri.startswith("/") and os.sep == "/":
        return _local(), uri.rstrip("/") or "/"  # as below, in a tenth of the time: every image asks
    if _JOINT not in uri or is_chain(uri):
        return fsspec.core.url_to_fs(uri)
    protocol, _ = fsspec.core.split_protocol(uri)
    kind = fsspec.get_filesystem_class(protocol or "file")
    path = kind._strip_protocol(uri)
    return kind(**kind._get_kwargs_from_urls(uri)), path


@cache
def _local() -> AbstractFileSystem:
    return fsspec.filesystem("file")


def is_local(filesystem: AbstractFileSystem) -> bool:
    """Whether a filesystem is this machine's own."""
    protocols = filesystem.protocol if isinstance(filesystem.protocol, tuple) else (filesystem.protocol,)
    return "file" in protocols


def is_chain(uri: str) -> bool:
    """Whether a URI chains filesystems on purpose."""
    first, joint, _ = uri.partition(_JOINT)
    return bool(joint) and first.partition("://")[0] in _ARCHIVES | _VIEWS and not os.path.lexists(uri)


def written(filesystem: AbstractFileSystem, path: str, source: str) -> str:
    """A path of a filesystem as it is stored: bare for local files, else a URI.

    Args:
        filesystem: what `resolve` returned for the source.
        path: the path in it.
        source: the source that it was found under. Its chain, if it has one, leads to the file again.
    """
    if is_chain(source):
        before, _, behind = _parts(source)
        if behind:
            return f"{before}{path}{behind}"
        inner, _ = resolve(source.rpartition(_JOINT)[2])
        return f"{before}{written(inner, path, '')}"
    return path if is_local(filesystem) else filesystem.unstrip_protocol(path)


def join(uri: str, name: str) -> str:
    """The URI of a file below a folder."""
    before, path, behind = _parts(uri)
    return f"{before}{path}/{name}{behind}" if path else f"{before}{name}{behind}"


def path_of(uri: str) -> str:
    """The part of a URI that names the file: all of it, except for what a chain has before and behind."""
    return _parts(uri)[1]


def with_path(uri: str, path: str) -> str:
    """The URI of another file in the same place."""
    before, _, behind = _parts(uri)
    return f"{before}{path}{behind}"


def _parts(uri: str) -> tuple[str, str, str]:
    """What stands before the path, the path (with its protocol, unless it is in an archive), what stands behind it."""
    if not is_chain(uri):
        return "", uri, ""
    first, _, rest = uri.partition(_JOINT)
    protocol, _, path = first.partition("://")
    if protocol in _ARCHIVES:
        return f"{protocol}://", path, f"{_JOINT}{rest}"
    before, path, behind = _parts(rest)
    return f"{first}{_JOINT}{before}", path, behind

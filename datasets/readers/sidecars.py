"""The files of text and fields beside the images of a folder: `cat.txt` and `cat.json` for `cat.jpg`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache

from ..decoding import is_image_name
from ..places import is_local, join, resolve
from ..tables import FoldedNames

_ENDINGS = (".txt", ".json")


class FolderFiles:
    """The regular files of a folder and its subfolders during one scan.

    Each folder is looked at once, not for every image: asking whether it has changed takes longer than a look-up.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._files = lru_cache(maxsize=8)(self._list)  # images come folder by folder

    def has(self, path: str) -> bool:
        """Whether there is a file of exactly this path below the folder."""
        place, _, name = path.rpartition("/")
        return name in self._files(place).names

    def sidecar(self, member: str, ending: str) -> str | None:
        """The file with an ending (`.txt`, `.json`) that belongs to an image; None if there is none.

        It has the image's stem: exactly, else in composed Unicode, else without regard to case (`CAT.TXT` for
        `CAT.JPG`). A file that fits only so is not taken from an image that has exactly its stem. Only regular files
        count: opening a FIFO would wait for ever.
        """
        place, _, name = member.rpartition("/")
        found = self._files(place).sidecar(name.rpartition(".")[0], ending)
        return f"{place}/{found}" if found and place else found

    def _list(self, place: str) -> Files:
        return list_files(join(self._folder, place) if place else self._folder)


def is_sidecar(name: str, stems: FoldedNames) -> bool:
    """Whether a file is a sidecar of an image with one of some stems."""
    stem, _, ending = name.rpartition(".")
    return f".{ending.lower()}" in _ENDINGS and stems.find(stem) is not None


class Files:
    """The regular files of one folder, by their names."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self._stems = frozenset(name.rpartition(".")[0] for name in self.names if is_image_name(name))
        # Nearly all sidecars have exactly the name that is looked for; only the others need an index.
        self._others = FoldedNames(name for name in self.names if self._is_other(name))

    def sidecar(self, stem: str, ending: str) -> str | None:
        """The name of the sidecar of an image with a stem, or None."""
        exact = stem + ending
        if exact in self.names:
            return exact
        found = self._others.find(exact)
        is_taken = found is not None and found[: -len(ending)] != stem and found[: -len(ending)] in self._stems
        return None if is_taken else found

    def _is_other(self, name: str) -> bool:
        stem, _, ending = name.rpartition(".")
        return f".{ending.lower()}" in _ENDINGS and not (stem in self._stems and ending.islower())


def list_files(folder: str) -> Files:
    """The regular files of a folder, without those of its subfolders. It is listed again when it has changed."""
    filesystem, path = resolve(folder)
    try:
        return _list(folder, filesystem.info(path).get("mtime"))
    except OSError:  # the folder is gone or closed: reading its images says so
        return Files(())


@lru_cache(maxsize=8)
def _list(folder: str, mtime: float | None) -> Files:
    del mtime  # part of the cache key
    filesystem, path = resolve(folder)
    if is_local(filesystem):
        with os.scandir(path) as entries:  # much faster than fsspec, which asks for the size of every file
            return Files(entry.name for entry in entries if entry.is_file())
    infos = filesystem.ls(path, detail=True)
    return Files(str(info["name"]).rpartition("/")[2] for info in infos if info.get("type") == "file")

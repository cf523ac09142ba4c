"""Where the shards of a gallery are now.

A row's metadata names its shard by the place where it was embedded from. Shards move: a disk gets another mount point,
a gallery is copied to another machine. `moves.json` holds the moves, and nothing else of the gallery changes. Shards
that the gallery holds itself (`added/`) are named relative to its folder, so they move with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath

from ...datasets.checksums import read_checked, write_checked_json
from ...datasets.errors import InputError
from ...datasets.types import Shard
from .layout import MOVES


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """The moves of a gallery's shards, in the order in which they were declared.

    Attributes:
        root: the gallery's folder.
        pairs: what a place began with and begins with now, without a slash at the end.
    """

    root: Path
    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, root: Path) -> Moves:
        """Reads a gallery's moves; a gallery without `moves.json` has none.

        Raises:
            InputError: if the file is damaged.
        """
        path = root / MOVES
        try:
            moves = json.loads(read_checked(root, MOVES))["moves"]
            return cls(root=root, pairs=tuple((str(move["old"]), str(move["new"])) for move in moves))
        except FileNotFoundError:
            return cls(root=root)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path} is damaged ({type(error).__name__}); remove it and give the moves again with "
                "diantu status --relocate"
            ) from error

    def save(self) -> None:
        """Writes `moves.json`."""
        write_checked_json(self.root, MOVES, {"moves": [{"old": old, "new": new} for old, new in self.pairs]})

    def moved(self, old: str, new: str) -> Moves:
        """These moves and one more."""
        return replace(self, pairs=(*self.pairs, (_without_slash(old), _without_slash(new))))

    def now(self, uri: str) -> str:
        """Where something is now that was recorded at a place."""
        if not _is_absolute(uri):
            return str(self.root / uri)
        for old, new in self.pairs:
            uri = _with_prefix(uri, old, new)
        return uri

    def recorded(self, uri: str) -> str:
        """The place by which the gallery knows what is at a place now."""
        for old, new in reversed(self.pairs):
            uri = _with_prefix(uri, new, old)
        return uri

    def shard_now(self, shard: Shard) -> Shard:
        """A recorded shard, to be read where it is now."""
        return replace(shard, uri=self.now(shard.uri), captions=tuple(map(self.now, shard.captions)))

    def shard_recorded(self, shard: Shard) -> Shard:
        """A shard that was found now, as the gallery records it."""
        return replace(shard, uri=self.recorded(shard.uri), captions=tuple(map(self.recorded, shard.captions)))


def _is_absolute(uri: str) -> bool:
    return uri.startswith("/") or "://" in uri or PureWindowsPath(uri).is_absolute()


def _with_prefix(uri: str, old: str, new: str) -> str:
    """Replaces whole folders only: /data/a is no prefix of /data/ab."""
    if uri == old:
        return new
    folder = f"{_without_slash(old).rstrip('/')}/"
    return f"{new.rstrip('/')}/{uri[len(folder) :]}" if uri.startswith(folder) else uri


def _without_slash(place: str) -> str:
    return place.rstrip("/") or place

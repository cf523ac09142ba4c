"""The rows of a folder's images in its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from .reading import Row, Table, read_table


class Lookup:
    """Finds the rows of images in some tables. Of several tables, each serves its own folder, and the deepest one wins.

    Names are compared exactly, else in composed Unicode, else without regard to case; a row that fits only so is not
    taken from an image that has exactly this name.
    """

    def __init__(
        self, folder: str, tables: Sequence[str], *, by_name: bool, is_image: Callable[[str], bool] = lambda path: False
    ) -> None:
        """Prepares the search; a table is read when an image needs it, so `InputError` may come later.

        Args:
            folder: the URI of the folder that the images' paths are relative to.
            tables: the URIs of the tables, those of deeper folders first.
            by_name: a row that names no folder also matches an image in a subfolder. Use that only if no two images
                have the same name.
            is_image: whether the folder has an image of exactly this path.
        """
        self._prefixes = {table: _prefix(folder, table) for table in tables}
        self._by_name = by_name
        self._is_image = is_image
        self._read: dict[str, Table] = {}

    def row(self, member: str) -> Row:
        """The row of an image by its path below the folder; {} if there is none."""
        found = self.find(member)
        return self._table(found[0]).rows[found[1]] if found else {}

    def find(self, member: str) -> tuple[str, str] | None:
        """The table that names an image, and the name that it has there; None if there is none."""
        for table, prefix in self._prefixes.items():
            if len(self._prefixes) > 1 and not member.startswith(prefix):
                continue
            name = self._name(self._table(table), prefix, member)
            if name is not None:
                return table, name
        return None

    def _table(self, uri: str) -> Table:
        if uri not in self._read:
            self._read[uri] = read_table(uri)
        return self._read[uri]

    def _name(self, table: Table, prefix: str, member: str) -> str | None:
        writings = list(self._writings(prefix, member))
        for written in writings:
            if written in table.rows:
                return written
        for written in writings:
            found = table.names.find(written)
            if found is not None and not self._is_taken(found, prefix, member):
                return found
        return None

    def _is_taken(self, name: str, prefix: str, member: str) -> bool:
        """Whether a name in a table is exactly that of another image, with or without its ending."""
        ending = member.rpartition(".")[2]
        return any(self._is_image(f"{place}{name}{end}") for place in (prefix, "") for end in ("", f".{ending}"))

    def _writings(self, prefix: str, member: str) -> Iterator[str]:
        """How a table may write an image: relative to its own folder or to that of the images; without its ending."""
        paths = [member.removeprefix(prefix), member]
        if self._by_name:
            paths.append(member.rpartition("/")[2])
        for path in dict.fromkeys(paths):
            yield path
            if stem := path.rpartition(".")[0]:
                yield stem


def _prefix(folder: str, table: str) -> str:
    """The table's folder below the folder of images, with a slash; empty for a table at the top or elsewhere."""
    place = table.rpartition("/")[0]
    return f"{place[len(folder) + 1 :]}/" if place.startswith(f"{folder}/") else ""

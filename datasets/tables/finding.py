"""Which tables give a folder of images its captions: the one that was named, or those found beside the images."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence

from ..errors import InputError
from ..names import NAMES
from .lookup import Lookup
from .reading import EXTENSIONS, read_table

log = logging.getLogger(__name__)

_NAMED = 3  # names of images that a message lists


def choose_tables(
    folder: str, images: Sequence[str], files: Iterable[str], captions: str, *, by_name: bool
) -> tuple[str, ...]:
    """Chooses the tables of a folder of images, and says which and how much they cover.

    Args:
        folder: the folder's URI.
        images: the paths of its images, relative to it.
        files: the paths of all its files, images or not.
        captions: the URI of a table; "auto" for the tables that lie in the folder or in its subfolders and name most of
            the images there, alone or together with others that name other images; "none" for none.
        by_name: see `Lookup`.

    Returns:
        The URIs of the tables, those of deeper folders first.

    Raises:
        InputError: if the table that `captions` names cannot be used or names no image, or if several tables of one
            folder name the same images, because a guess could give images the wrong captions. A table that was found
            and cannot be used is left alone with a warning.
    """
    if captions == "none":
        return ()
    known = set(images)
    tables = tuple(_found(folder, known, files, by_name=by_name)) if captions == "auto" else (captions,)
    if tables:
        _report(folder, known, tables, by_name=by_name)
    return tables


def _found(folder: str, images: Collection[str], files: Iterable[str], *, by_name: bool) -> list[str]:
    """The fitting tables, from the deepest folders upwards."""
    places: dict[str, list[str]] = {}
    for name in files:
        if name.lower().endswith(EXTENSIONS):
            places.setdefault(name.rpartition("/")[0], []).append(name)
    below = _images_below(places, images)
    if apart := sorted(name for place, names in places.items() if not below[place] for name in names):
        some = ", ".join(apart[:_NAMED]) + (", …" if len(apart) > _NAMED else "")
        log.warning("not used for captions: %s: below their folders are no images; choose one with --captions", some)
    unnamed = set(images)
    tables: list[str] = []
    for place in sorted((place for place in places if below[place]), key=_depth, reverse=True):
        fitting = _fitting(folder, sorted(places[place]), below[place], unnamed, by_name=by_name)
        if len(frozenset().union(*fitting.values())) < sum(map(len, fitting.values())):
            names = ", ".join(fitting)
            raise InputError(
                f"{folder} holds several tables that name the same images ({names}); choose one with --captions"
            )
        tables += fitting
        unnamed = unnamed.difference(*fitting.values())
    return tables


def _images_below(places: Collection[str], images: Iterable[str]) -> dict[str, set[str]]:
    """For each folder the images in it and in its subfolders."""
    below: dict[str, set[str]] = {place: set() for place in places}
    for image in images:
        place = image
        while place:
            place = place.rpartition("/")[0]
            if place in below:
                below[place].add(image)
    return below


def _depth(place: str) -> tuple[int, str]:
    return (place.count("/") + 1 if place else 0, place)


def _fitting(
    folder: str, names: Iterable[str], images: Collection[str], unnamed: Collection[str], *, by_name: bool
) -> dict[str, frozenset[str]]:
    """Those of some tables that name most of the images, or most of those that no deeper table names; and which.

    Tables that share no image, such as `train.csv` and `val.csv`, count together.
    """
    waiting = {image for image in images if image in unnamed}

    def fits(covered: frozenset[str]) -> bool:
        return 2 * len(covered) > len(images) or 2 * len(covered & waiting) > len(waiting) > 0

    tables = [f"{folder}/{name}" for name in names]
    usable = {table: _covered(folder, table, images, by_name=by_name) for table in tables}
    covered = {table: found for table, found in usable.items() if found is not None}
    together = frozenset().union(*covered.values())
    are_apart = len(together) == sum(map(len, covered.values()))
    chosen = {table for table, found in covered.items() if found and fits(together if are_apart else found)}
    for table in covered.keys() - chosen:
        log.warning("not used for captions: %s names %d of %d images", table, len(covered[table]), len(images))
    return {table: covered[table] for table in covered if table in chosen}


def _covered(folder: str, table: str, images: Iterable[str], *, by_name: bool) -> frozenset[str] | None:
    """The images that a table names; None, with a warning, if it cannot be used at all."""
    lookup = Lookup(folder, [table], by_name=by_name, is_image=set(images).__contains__)
    try:
        return frozenset(image for image in images if lookup.find(image))
    except InputError as error:
        log.warning("not used for captions: %s", error)
        return None


def _report(folder: str, images: Collection[str], tables: Sequence[str], *, by_name: bool) -> None:
    """Says what the tables cover, and what they name in vain.

    Raises:
        InputError: if they name no image.
    """
    for uri in tables:
        lookup = Lookup(folder, [uri], by_name=by_name, is_image=images.__contains__)
        found = [name for _, name in filter(None, map(lookup.find, images))]
        if not found:
            raise InputError(f"the table {uri} names none of the images of {folder}; its paths must be relative to it")
        table, named = read_table(uri), set(found)
        log.info("captions of %s: from %s, which names %d of %d images", folder, uri, len(found), len(images))
        if missing := [name for name in table.rows if name not in named]:
            some = ", ".join(missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
            log.warning(
                "%s: %d of its %d rows name no image that was found: %s", uri, len(missing), len(table.rows), some
            )
        if not table.has_captions():
            log.warning(
                "%s has no column of captions (%s): its columns become metadata, captions stay empty",
                uri,
                ", ".join(NAMES["caption"]),
            )

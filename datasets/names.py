"""One vocabulary of columns: what tables of images call the same thing.

Tables differ: LAION writes `TEXT`, COYO `text`, Hugging Face `caption`, a folder's CSV `file_name`. Every place that
reads a table asks here, so that a name counts everywhere or nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

Meaning = Literal[
    "url", "caption", "width", "height", "similarity", "punsafe", "pwatermark", "aesthetic",
    "licence", "author", "source", "key", "file", "image",
]  # fmt: skip

_URL = ("url", "image_url", "img_url")

# Meaning → the names of columns that have it, in order of preference, in lower case.
NAMES: Mapping[Meaning, tuple[str, ...]] = {
    "url": _URL,
    "caption": ("caption", "text", "txt", "alt", "alt_text", "top_caption"),
    "width": ("width", "original_width"),
    "height": ("height", "original_height"),
    "similarity": ("similarity", "clip_similarity_vitb32", "clip_b32_similarity_score"),
    "punsafe": ("punsafe", "nsfw", "nsfw_score", "nsfw_score_opennsfw2"),
    "pwatermark": ("pwatermark", "watermark_score"),
    "aesthetic": ("aesthetic", "aesthetic_score", "aesthetic_score_laion_v2"),
    # The credits of an image: the terms of its use, and where it comes from.
    "licence": ("licence", "license"),
    "author": ("author", "artist", "creator"),
    "source": ("source", *_URL),
    "key": ("key", "__key__", "id", "uid", "image_id"),
    # The name of the image's file, in a table of captions.
    "file": ("file", "file_name", "filename", "image", "image_path", "path", "key"),
    # The encoded image itself, in a parquet file.
    "image": ("image", "jpg", "jpeg", "png", "webp", "img", "image_bytes", "bytes", "content"),
}

# The meanings that a SQL condition may use as columns, whatever the table calls them.
IN_CONDITIONS: tuple[Meaning, ...] = (
    "url", "caption", "width", "height", "similarity", "punsafe", "pwatermark", "aesthetic",
)  # fmt: skip
# Those of them that hold text; the others hold numbers. So LAION's `NSFW`, which says UNLIKELY, UNSURE or NSFW, does
# not count as `punsafe`.
TEXT_MEANINGS: frozenset[Meaning] = frozenset({"url", "caption"})
# The meanings that credit an image's author.
CREDITS: Mapping[str, tuple[str, ...]] = {
    "licence": NAMES["licence"], "author": NAMES["author"], "source": NAMES["source"],
}  # fmt: skip

# The names that diantu gives to columns of its own: in a gallery's metadata, beside a hit, and for what is known about
# a row later. A column of the user's that has such a name is kept as `table_<name>`.
RESERVED = frozenset({
    "key", "shard", "offset", "length", "image_path", "caption", "url", "width", "height", "aspect", "brightness",
    "contrast", "colorfulness", "dominant_color", "dominant_hue", "complexity", "phash",
    "row", "rank", "score", "zscore", "folded", "took_ms", "duplicate_of", "_diantu",
})  # fmt: skip
# Columns of texts that diantu takes over: the user's column is kept only where it says something else.
_TAKEN_OVER = ("key", "image_path", "caption", "url")
_SIZE = ("width", "height")
_IMG2DATASET_SIZE = ("original_width", "original_height")


def find_column(columns: Iterable[str], meaning: Meaning) -> str | None:
    """Finds the column that has a meaning, without regard to case.

    Args:
        columns: the names as the table writes them.
        meaning: what is wanted.

    Returns:
        The preferred column of that meaning, as the table writes it; None if there is none.
    """
    by_name: dict[str, str] = {}
    for name in columns:  # names may differ in case only: `width` comes before `WIDTH`, otherwise the first
        if name.lower() == name or name.lower() not in by_name:
            by_name[name.lower()] = name
    return next((by_name[name] for name in NAMES[meaning] if name in by_name), None)


def find_caption(columns: Iterable[str]) -> str | None:
    """Finds the column of captions as `find_column` does; failing that, the first `caption_…` (say `caption_en`)."""
    columns = list(columns)
    found = find_column(columns, "caption")
    return found or next((name for name in columns if name.lower().startswith("caption_")), None)


def may_be_caption(name: str) -> bool:
    """Whether `find_caption` might choose a column of this name."""
    lower = name.lower()
    return lower in NAMES["caption"] or lower.startswith("caption_")


def meaning_in_condition(name: str) -> Meaning | None:
    """What a name in a SQL condition means, without regard to case; None if it is no name of the vocabulary."""
    return next((meaning for meaning in IN_CONDITIONS if name.lower() in NAMES[meaning]), None)


def free_name(name: str, taken: set[str]) -> str:
    """A column's name that is not taken, without regard to case: the name itself, or with `table_` before it.

    Args:
        name: the name as the table writes it.
        taken: names in lower case; the name that is returned is added.
    """
    while not name or name.lower() in taken:
        name = f"table_{name}"
    taken.add(name.lower())
    return name


def further_columns(ours: Mapping[str, Any], fields: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The user's fields beside diantu's columns of one row, under names that are unique without regard to case.

    A field with a reserved name, or one that another field has, becomes `table_<name>`, so that no value is lost. It is
    not kept twice where diantu has taken it over: as key, path, caption or URL, or as the width and height that
    img2dataset writes beside `original_width` and `original_height`.

    Args:
        ours: diantu's columns and their values.
        fields: the user's, as pairs, because names may repeat.
    """
    fields = list(fields)
    by_lower = {name.lower(): value for name, value in fields}
    taken_over = {name: _texts(ours.get(name)) for name in _TAKEN_OVER}
    taken_over["caption"] |= _texts(by_lower.get("captions"))
    if by_lower.keys() >= set(_IMG2DATASET_SIZE):
        taken_over |= {name: _texts(ours.get(name)) for name in _SIZE}
    taken = set(RESERVED)
    further: dict[str, Any] = {}
    for name, value in fields:
        known = taken_over.get(name.lower())
        if known is None or not _texts(value) <= known:
            further[free_name(name, taken)] = value
    return further


def _texts(value: Any) -> set[str]:
    """A value, or the items of a list, as texts to compare."""
    items = value if isinstance(value, list) else [value]
    return {str(item).strip() for item in items if item is not None}

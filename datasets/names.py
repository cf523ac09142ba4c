"""One vocabulary of columns: what tables of images call the same thing.

Tables differ: LAION writes `TEXT`, COYO `text`, Hugging Face `caption`, a folder's CSV `file_name`. Every place that
reads a table asks here, so that a name counts everywhere or nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

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


def find_column(columns: Iterable[str], meaning: Meaning) -> str | None:
    """Finds the column that has a meaning, without regard to case.

    Args:
        columns: the names as the table writes them.
        meaning: what is wanted.

    Returns:
        The preferred column of that meaning, as the table writes it; None if there is none.
    """
    by_name = {name.lower(): name for name in columns}
    return next((by_name[name] for name in NAMES[meaning] if name in by_name), None)


def find_caption(columns: Iterable[str]) -> str | None:
    """Finds the column of captions as `find_column` does; failing that, the first `caption_…` (say `caption_en`)."""
    columns = list(columns)
    found = find_column(columns, "caption")
    return found or next((name for name in columns if name.lower().startswith("caption_")), None)


def meaning_in_condition(name: str) -> Meaning | None:
    """What a name in a SQL condition means, without regard to case; None if it is no name of the vocabulary."""
    return next((meaning for meaning in IN_CONDITIONS if name.lower() in NAMES[meaning]), None)

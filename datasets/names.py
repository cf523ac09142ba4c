"""The names that tables have for the same column: images, keys, captions, LAION's scores, credits."""

from __future__ import annotations

# What tables call the same thing, in order of preference, matched without regard to case.
ALIASES = {
    "url": ("url", "image_url", "img_url"),
    "caption": ("caption", "text", "alt", "alt_text", "top_caption"),
    "width": ("width", "original_width"),
    "height": ("height", "original_height"),
    "similarity": ("similarity", "clip_similarity_vitb32", "clip_b32_similarity_score"),
    "punsafe": ("punsafe", "nsfw", "nsfw_score", "nsfw_score_opennsfw2"),
    "pwatermark": ("pwatermark", "watermark_score"),
    "aesthetic": ("aesthetic", "aesthetic_score", "aesthetic_score_laion_v2"),
}

# Columns that may name the picture, in order of preference, matched without regard to case.
FILE_COLUMNS = ("file", "file_name", "filename", "image", "image_path", "path", "key")
# Columns that hold the caption, in order of preference; after them the first `caption_…` (say `caption_en`).
CAPTION_COLUMNS = ("caption", "text", "txt", "alt")
# Columns that hold pictures, in order of preference, matched without regard to case; else the only one of bytes.
IMAGE_COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "img", "image_bytes", "bytes", "content")
KEY_COLUMNS = ("key", "__key__", "id", "uid", "image_id")
# Other names of our columns, matched without regard to case.
OWN_ALIASES = {
    "caption": ("caption", "text"),
    "url": ("url",),
    "width": ("width",),
    "height": ("height",),
    "key": ("key",),
}

# What tables call the same thing, in order of preference, in lower case.
CREDITS = {
    "licence": ("licence", "license"),
    "author": ("author", "artist", "creator"),
    "source": ("source", "url", "image_url", "img_url"),
}

"""Encoded bytes → RGB pixels. One decoder for every door: shards, paths, bytes, PIL images and arrays.

The steps, in the order of the data: `formats` says which decoders may read the bytes, `stripping` removes what is not
pixels, `images` opens and decodes them within the `limits`, `conversion` makes RGB. `isolated` does all of it in a
process of its own, where the decoder of a rare format may crash or hang.
"""

from .formats import IMAGE_EXTENSIONS, is_image_name, media_type
from .images import Decoded, decode, decode_with_notes
from .inputs import ImageInput, pixels_of, read_file
from .isolated import decode_guarded

__all__ = [
    "IMAGE_EXTENSIONS",
    "Decoded",
    "ImageInput",
    "decode",
    "decode_guarded",
    "decode_with_notes",
    "is_image_name",
    "media_type",
    "pixels_of",
    "read_file",
]

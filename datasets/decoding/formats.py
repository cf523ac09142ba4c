"""Which formats are decoded, and which of them some bytes may have: their signature decides, never a name."""

from __future__ import annotations

# The endings of image files, in lower case and without a dot.
IMAGE_EXTENSIONS = frozenset({
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff", "avif", "avifs", "heic",
    "heics", "heif", "heifs", "hif", "jp2", "j2k", "jpf", "jpx", "ppm", "pgm", "pbm", "pnm", "pfm", "tga", "ico", "mpo",
    "pcx", "dds", "psd", "sgi", "rgb", "rgba", "bw", "fli", "flc", "blp", "icns", "cur", "qoi", "xbm", "xpm", "ras",
    "msp", "im",
})  # fmt: skip

# Pillow's name of a format → what its files begin with. Only formats that are named in this file are ever opened: with
# all of Pillow's plugins, `Image.open` would also try the one for EPS, which starts Ghostscript.
_SIGNATURES: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    ("JPEG", (b"\xff\xd8\xff",)),
    ("PNG", (b"\x89PNG\r\n\x1a\n",)),
    ("GIF", (b"GIF87a", b"GIF89a")),
    ("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")),
    ("BMP", (b"BM",)),
    ("JPEG2000", (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n")),
    ("DDS", (b"DDS ",)),
    ("PSD", (b"8BPS",)),
    ("BLP", (b"BLP1", b"BLP2")),
    ("ICNS", (b"icns",)),
    ("QOI", (b"qoif",)),
    ("XPM", (b"/* XPM */",)),
    ("SUN", (b"\x59\xa6\x6a\x95",)),
    ("MSP", (b"DanM", b"LinS")),
)
# Formats whose signature is short or missing. They are tried in this order, and only on bytes that have no signature of
# the table above; TGA and IM, which have none at all, come last.
_WITHOUT_SIGNATURE = ("PPM", "XBM", "FLI", "SGI", "ICO", "CUR", "PCX", "DIB", "IM", "TGA")
_TGA_FOOTER = b"TRUEVISION-XFILE.\0"
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1",
})  # fmt: skip


# Pillow's name of a format → its media type and the usual ending of its files. Formats without a signature are not
# here: any bytes may be one of those.
_MEDIA_TYPES = {
    "JPEG": ("image/jpeg", "jpg"), "PNG": ("image/png", "png"), "GIF": ("image/gif", "gif"),
    "WEBP": ("image/webp", "webp"), "AVIF": ("image/avif", "avif"), "HEIF": ("image/heic", "heic"),
    "TIFF": ("image/tiff", "tif"), "BMP": ("image/bmp", "bmp"), "JPEG2000": ("image/jp2", "jp2"),
}  # fmt: skip


def media_type(data: bytes) -> tuple[str, str] | None:
    """The media type of an image, and the ending for a file of it, by its signature; None for all other bytes."""
    formats = possible_formats(data)
    return _MEDIA_TYPES.get(formats[0]) if formats else None


def is_image_name(path: str) -> bool:
    """Whether a file's ending is that of an image; a file whose whole name is `.jpg` is none."""
    stem, dot, extension = path.rpartition(".")
    return bool(stem and dot) and extension.lower() in IMAGE_EXTENSIONS


def possible_formats(data: bytes) -> tuple[str, ...]:
    """The formats that bytes may have, the most likely first; one only if they begin with its signature."""
    for name, signatures in _SIGNATURES:
        if data.startswith(signatures):
            return (name,)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return ("WEBP",)
    if data[4:8] == b"ftyp":
        return _of_brands(data)
    if data.endswith(_TGA_FOOTER):
        return ("TGA", *(name for name in _WITHOUT_SIGNATURE if name != "TGA"))
    return _WITHOUT_SIGNATURE


def _of_brands(data: bytes) -> tuple[str, ...]:
    """The formats of an ISO base media file, by its major and compatible brands."""
    end = min(int.from_bytes(data[:4], "big"), 1024)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
    avif = ("AVIF",) if brands & _AVIF_BRANDS else ()
    return avif + (("HEIF",) if brands & _HEIF_BRANDS and data[8:12] not in _AVIF_BRANDS else ())

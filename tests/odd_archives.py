"""Seeded archives of every odd kind, with what must come out of them, noted while they are built."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from dataclasses import dataclass, field

import pyarrow as pa

FOLDERS = ("", "./", "a/", ".//a/", "/b/", "../c/", "很长的文件夹名/", "deep/" * 30, "std::x/", "v1.0/")
IMAGE_ENDINGS = ("png", "jpg", "WEBP", "tiff")


@dataclass
class Archive:
    """The bytes of an archive, and what is right.

    `samples`: key → image and caption. `listed`: keys that must be failures. `extents`: key → the ranges of bytes that
    a sample depends on.
    """

    data: bytes = b""
    samples: dict[str, tuple[bytes, str | None]] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)
    extents: dict[str, list[tuple[int, int]]] = field(default_factory=dict)


def noise(rng: random.Random, most: int = 3000) -> bytes:
    """Bytes that stand for an image; the readers do not decode."""
    return rng.randbytes(rng.choice((1, 511, 512, 513, rng.randint(1, most))))


def plain(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    return "/".join(parts)


def make_tar(rng: random.Random) -> Archive:
    """One to three concatenated tars with samples in any order, links, and members that are no files."""
    archive = Archive()
    members: list[tuple[str, str, tarfile.TarInfo, bytes]] = []  # key, role, header, data
    for number in range(rng.randint(1, 8)):
        _add_sample(rng, archive, members, f"{rng.choice(FOLDERS)}{number:04d}{rng.choice(('', '.1', '猫'))}")
    rng.shuffle(members)
    members.sort(key=lambda member: member[2].type == tarfile.LNKTYPE)  # a hard link follows what it links to
    images = [info for _, role, info, _ in members if role == "image" and info.isreg()]
    for number in range(rng.randint(0, 3)):
        _add_link(rng, archive, members, images, number)
    buffer = io.BytesIO()
    while members:
        count = rng.randint(1, len(members))
        tar_format = rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
        with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as tar:
            for key, _, info, data in members[:count]:
                if rng.random() < 0.1:
                    folder = tarfile.TarInfo("a folder")
                    folder.type = tarfile.DIRTYPE
                    tar.addfile(folder)
                start = buffer.tell()
                tar.addfile(info, io.BytesIO(data))
                archive.extents.setdefault(key, []).append((start, buffer.tell()))
        members = members[count:]
    archive.data = buffer.getvalue()
    return archive


def _add_sample(rng: random.Random, archive: Archive, members: list, name: str) -> None:
    key, image = plain(name), noise(rng)
    kind = rng.random()
    if kind < 0.1:  # a device with the name of an image
        info = tarfile.TarInfo(f"{name}.png")
        info.type = rng.choice((tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.BLKTYPE))
        archive.listed.add(key)
        members.append((key, "device", info, b""))
        return
    if kind < 0.2:  # no image
        archive.listed.add(key)
        members.append((key, "caption", _info(f"{name}.txt", b"alone"), b"alone"))
        return
    caption = f"标题 {key}" if rng.random() < 0.6 else None
    if caption is not None:
        data = caption.encode()
        members.append((key, "caption", _info(f"{name}.txt", data), data))
    if kind < 0.35:  # two images share what the sample has
        for part in ("left", "right"):
            image = noise(rng)
            members.append((f"{key}.{part}", "image", _info(f"{name}.{part}.png", image), image))
            archive.samples[f"{key}.{part}"] = (image, caption)
            archive.extents[f"{key}.{part}"] = archive.extents.setdefault(key, [])
        return
    members.append((key, "image", _info(f"{name}.{rng.choice(IMAGE_ENDINGS)}", image), image))
    archive.samples[key] = (image, caption)


def _add_link(rng: random.Random, archive: Archive, members: list, images: list, number: int) -> None:
    key = f"link{number}"
    info = tarfile.TarInfo(f"{key}.png")
    kind = rng.choice(("hard", "symbolic", "missing", "circle", "outside"))
    if kind in ("hard", "symbolic") and images:
        target = rng.choice(images)
        info.type = tarfile.LNKTYPE if kind == "hard" else tarfile.SYMTYPE
        info.linkname = target.name if kind == "hard" else f"./{plain(target.name)}"
        owner = next(k for k, _, header, _ in members if header is target)
        archive.samples[key] = (archive.samples[owner][0], None)
        archive.extents[key] = list(archive.extents.setdefault(owner, []))
        archive.extents[key] = archive.extents[owner]
    else:
        info.type = tarfile.SYMTYPE
        info.linkname = {"circle": f"{key}.png", "outside": "../../etc/x.png"}.get(kind, "nowhere.png")
        archive.listed.add(key)
    members.append((key, "link", info, b""))


def _info(name: str, data: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info


def make_zip(rng: random.Random) -> Archive:
    """Members of several compressions in any order."""
    archive = Archive()
    members: list[tuple[str, str, bytes]] = []
    for number in range(rng.randint(1, 8)):
        name = f"{rng.choice(FOLDERS)}{number:04d}"
        key = plain(name)
        image = noise(rng)
        members.append((key, f"{name}.{rng.choice(IMAGE_ENDINGS)}", image))
        caption = f"标题 {key}" if rng.random() < 0.5 else None
        if caption is not None:
            members.append((key, f"{name}.txt", caption.encode()))
        archive.samples[key] = (image, caption)
    rng.shuffle(members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for key, name, data in members:
            start = buffer.tell()
            kind = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
            out.writestr(zipfile.ZipInfo(name), data, compress_type=kind)
            archive.extents.setdefault(key, []).append((start, buffer.tell()))
    archive.data = buffer.getvalue()
    return archive


def compressed(rng: random.Random, data: bytes, kind: str) -> bytes:
    """Compresses data in one to three members or frames."""
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randint(0, 2)))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return b"".join(_COMPRESS[kind](piece) for piece in pieces)


def _zstandard(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return sink.getvalue().to_pybytes()


_COMPRESS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": _zstandard}

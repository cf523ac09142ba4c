"""A reader of comic books (zip archives), as another package would write it: tests install it as an extension."""

from __future__ import annotations

import zipfile
import zlib

from diantu.datasets import Entry, Place, Reader, Reason, SampleError, Scan, Shard, ShardError, Span, is_image_name


def scan(shard: Shard) -> Scan:
    try:
        with zipfile.ZipFile(shard.uri) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise ShardError(f"{shard.uri} is not a zip archive: {error}") from error
    entries: list[Entry] = []
    for name in filter(is_image_name, names):
        stem = name.rpartition(".")[0]
        caption = member(shard.uri, f"{stem}.txt") if f"{stem}.txt" in names else None
        image = member(shard.uri, name)
        entries.append(Entry(key=stem, row=len(entries), image_path=name, image=image, caption=caption))
    return Scan(entries=entries, failures=[], num_entries=len(entries))


def read(span: Span) -> bytes:
    with zipfile.ZipFile(span.uri) as archive:
        try:
            return archive.read(span.member or "")
        except (zipfile.BadZipFile, zlib.error, KeyError) as error:
            raise SampleError(Reason.UNREADABLE, f"{span.member} of {span.uri} cannot be read: {error}") from error


def member(uri: str, name: str) -> Span:
    return Span(uri=uri, member=name, format="cbz")


def locate(place: Place) -> Span:
    return member(place.shard, place.image_path)


READER = Reader(format="cbz", endings=(".cbz",), scan=scan, read=read, locate=locate)

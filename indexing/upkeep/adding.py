"""Adds images that a program has, in memory or as files, to a gallery.

The images become shards of the gallery itself, `added/<sha256>.parquet`, and are embedded from there by the ordinary
job. So they have the same guarantees as images from shards: a part exists as a whole or not at all, a call that was
killed is finished by the next one, what cannot be used is listed with a reason, and hits give back the pixels.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ...datasets import arguments
from ...datasets.decoding import ImageInput, pixels_of, read_file
from ...datasets.errors import InputError, Reason
from ...datasets.files import write_atomic
from ...datasets.text import valid_text
from ...datasets.types import Failure, Shard
from ...datasets.values import SCALARS, holds_bytes, plain, plain_column
from ..embed import BATCH_SIZE, embed
from ..encoders.spec import ImageEncoder
from ..store.layout import ADDED
from ..store.manifest import MANIFEST, read_manifest
from ..store.parts import read_failures, read_metadata
from ..store.records import Part, read_part
from ..store.snapshot import Snapshot
from ..store.tables import array_of

# A call with more images than this, or with more bytes, becomes several shards: memory does not grow with the call.
SHARD_IMAGES = 1000
_SHARD_BYTES = 256 << 20
_ROW_GROUP = 16  # images that are read to give one back
_MOST_DEPTH = 20  # of nested metadata
# The parquet reader's columns. A row without an image is a failure with the message as its detail.
_KEY, _IMAGE, _MESSAGE = "key", "image", "error_message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What a call of `add_images` did.

    Attributes:
        rows: the row id of every image of the call that the gallery has now, by key.
        failures: the images that cannot be used, each with a reason.
    """

    rows: Mapping[str, int]
    failures: Sequence[Failure]


def add_images(
    gallery: str | Path,
    images: Iterable[tuple[str, ImageInput, Mapping[str, Any] | None]],
    encoder: ImageEncoder | Sequence[ImageEncoder],
    *,
    batch_size: int = BATCH_SIZE["cpu"],
    texts: bool | None = None,
) -> Added:
    """Adds images to a gallery, which is created if it does not exist. They can be searched at once.

    The same call again adds nothing and returns the same rows, so a call that was interrupted is repeated to finish it.
    `build_index` folds the new rows into the index; until then they are searched exactly.

    Args:
        gallery: the gallery's folder.
        images: triples of key, image and metadata, from a list or a generator. An image is a path, encoded bytes, a PIL
            image or an array; see `datasets.decoding.pixels_of`. Paths and bytes are kept as they are, PIL images and
            arrays as PNG. Metadata is None, or has a value for each column: text, numbers, booleans, dates, lists. Its
            `caption` is the image's caption. Values of several types make a column of text.
        encoder: the gallery's encoder, or all its encoders if it has further spaces, the main one first.
        batch_size: images per batch of the model.
        texts: embed captions as well. None: as the gallery does, or not for a new one.

    Raises:
        InputError: if a key is no text, is given twice, or is that of an added image already; if metadata cannot be
            stored; if something is no triple; if the gallery was made with another encoder, or another job is writing
            to it.
    """
    root = Path(gallery)
    wanted = read_manifest(root).texts if texts is None and (root / MANIFEST).exists() else bool(texts)
    present = _Present(root)
    rows: dict[str, int] = {}
    failures: list[Failure] = []
    for records in _chunks(images, present):
        shard = present.shard_for(records)
        if shard.uri not in present.parts:
            embed([shard], root, encoder, batch_size=batch_size, texts=wanted)
            present.update()
        part = present.parts[shard.uri]
        rows.update(present.rows(part))
        failures += [_failure(row) for row in read_failures(root, part.number)]
    return Added(rows=rows, failures=tuple(failures))


class _Present:
    """The images that were added to a gallery before.

    Attributes:
        parts: the committed parts of added images, by the URI of their shard.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.parts: dict[str, Part] = {}
        self._keys: dict[str, str] = {}  # key of a row → the URI of its shard
        if (root / MANIFEST).exists():
            self.update()

    def update(self) -> None:
        """Reads the parts that were committed since the last time."""
        self._snapshot = Snapshot.read(self._root, with_committed=True)
        self._deleted = frozenset(self._snapshot.deleted.tolist())
        self._first_rows = {}
        first = 0
        for number, num_rows in self._snapshot.manifest.parts:
            self._first_rows[number] = first
            first += num_rows
        known = {part.number for part in self.parts.values()}
        for number in self._first_rows.keys() - known:
            part = read_part(self._root, number)
            if part is not None and part.shard["uri"].startswith(f"{ADDED}/"):
                self.parts[part.shard["uri"]] = part
                self._keys.update(dict.fromkeys(self.rows(part), str(part.shard["uri"])))

    def rows(self, part: Part) -> dict[str, int]:
        """The rows of a part that are not deleted, by key."""
        if not part.num_rows:
            return {}  # it may have no files
        first = self._first_rows[part.number]
        keys = read_metadata(self._root, part.number, ["key"])["key"].to_pylist()
        return {key: first + i for i, key in enumerate(keys) if first + i not in self._deleted}

    def shard_for(self, records: Sequence[Mapping[str, Any]]) -> Shard:
        """The shard that has these images already, else a new one, which is written.

        Raises:
            InputError: if another shard has one of their keys, or metadata cannot be stored.
        """
        for attempt in count():  # images that were deleted are added again under another name
            data = _parquet_bytes(records, attempt)
            uri = f"{ADDED}/{hashlib.sha256(data).hexdigest()[:32]}.parquet"
            shard = Shard(uri=uri, format="parquet", size_bytes=len(data))
            part = self.parts.get(uri)
            if part is None:
                self._refuse_known_keys(records)
                write_atomic(self._root / uri, data)
                return shard
            if len(self.rows(part)) == part.num_rows:
                return shard
        raise AssertionError("unreachable")

    def _refuse_known_keys(self, records: Sequence[Mapping[str, Any]]) -> None:
        known = [record[_KEY] for record in records if record[_KEY] in self._keys]
        if known:
            more = f" and {len(known) - 1} more keys" if len(known) > 1 else ""
            raise InputError(
                f"an image with the key {known[0]!r}{more} was added to {self._root} before; delete it first, or give "
                "another key"
            )


def _chunks(
    images: Iterable[tuple[str, ImageInput, Mapping[str, Any] | None]], present: _Present
) -> Iterator[list[dict[str, Any]]]:
    """The images as rows of the shards to be, one list for each shard."""
    taken: set[str] = set()
    records: list[dict[str, Any]] = []
    num_bytes = 0
    for given in arguments.items("images", images):
        key, image, metadata = _triple(given)
        if not isinstance(key, str) or not key:
            raise InputError(f"the key {key!r} cannot be used; give a text that is not empty")
        if key in taken:
            raise InputError(f"the key {key!r} is given twice; give every image a key of its own")
        taken.add(key)
        records.append({**_with_image(key, image), **_further(metadata)})
        num_bytes += len(records[-1][_IMAGE] or b"")
        if len(records) == SHARD_IMAGES or num_bytes > _SHARD_BYTES:
            yield records
            records, num_bytes = [], 0
    if records:
        yield records


def _triple(given: Any) -> tuple[Any, Any, Mapping[str, Any] | None]:
    if not isinstance(given, (tuple, list)) or len(given) != 3:
        raise InputError(
            f"{arguments.shown(given)} is no triple of key, image and metadata; give (key, image, None) at least"
        )
    metadata = given[2]
    is_usable = metadata is None or isinstance(metadata, Mapping)
    if not is_usable or not all(isinstance(name, str) and name for name in metadata or ()):
        shown = f"the metadata of {arguments.shown(given[0])} is {arguments.shown(metadata)}"
        raise InputError(f"{shown}; give a dictionary whose keys are names of columns, or None")
    return given[0], given[1], metadata


def _with_image(key: str, image: ImageInput) -> dict[str, Any]:
    try:
        return {_KEY: key, _IMAGE: _bytes_of(image)}
    except (OSError, ValueError) as error:
        if isinstance(error, InputError) and not isinstance(image, (np.ndarray, Image.Image)):
            raise  # no kind of image: the program is wrong, not the data
        return {_KEY: key, _IMAGE: None, _MESSAGE: str(error)}


def _bytes_of(image: ImageInput) -> bytes:
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, Path)):
        return read_file(image)
    buffer = io.BytesIO()
    Image.fromarray(pixels_of(image)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _further(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Metadata beside the key and the image; a column with one of their names gets the prefix of a table's columns."""
    further = {}
    for name, value in (metadata or {}).items():
        name = valid_text(name)
        further[f"table_{name}" if name in (_KEY, _IMAGE, _MESSAGE) else name] = plain(_of_python(name, value))
    return further


def _of_python(name: str, value: Any, depth: int = 0) -> Any:
    """A value of metadata with Python's own types in place of those of numpy and others.

    Raises:
        InputError: if it, or what is in it, is no data: an object of a program, or bytes.
    """
    if value is None or type(value) in SCALARS:
        return value
    if depth > _MOST_DEPTH:
        raise InputError(
            f"the metadata column {name!r} cannot be stored: a value is nested more than {_MOST_DEPTH} deep"
        )
    if isinstance(value, Mapping):
        return {str(inner): _of_python(name, item, depth + 1) for inner, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_of_python(name, item, depth + 1) for item in value]
    try:
        given = [str(value) if isinstance(value, UUID) else value]
        array = pa.array(np.array(given) if isinstance(value, np.generic) else given)
        if not holds_bytes(array.type):
            return plain_column(array)[0]
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        pass
    raise InputError(
        f"the metadata column {name!r} cannot be stored, because {arguments.shown(value)} is of type "
        f"{type(value).__name__}; give text, numbers, booleans, dates, or lists of these"
    )


def _parquet_bytes(records: Sequence[Mapping[str, Any]], attempt: int) -> bytes:
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: _array(name, [record.get(name) for record in records]) for name in names}
    table = pa.table(columns).replace_schema_metadata({"attempt": str(attempt)})
    buffer = pa.BufferOutputStream()
    # The images are compressed already.
    pq.write_table(table, buffer, compression="none", row_group_size=_ROW_GROUP, use_dictionary=False)
    return buffer.getvalue().to_pybytes()


def _array(name: str, values: Sequence[Any]) -> pa.Array:
    if name == _IMAGE:
        return pa.array(values, pa.large_binary())
    return pa.array(map(valid_text, values), pa.string()) if name == _KEY else array_of(values)


def _failure(row: Mapping[str, str]) -> Failure:
    return Failure(key=row["key"], shard=row["shard"], reason=Reason(row["reason"]), detail=row["detail"])

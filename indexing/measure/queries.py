"""Queries to tune and measure an index with: captions, a file of real queries, or rows of the gallery.

Text embeddings occupy another region of the space than image embeddings, so an index that was tuned on images finds
less for texts (VIBE, arXiv 2505.17810). An index for text queries must be tuned on texts.

Shapes: Q queries, D dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...datasets.display import is_blank
from ...datasets.encodings import decode_text
from ...datasets.errors import InputError
from ...datasets.files import open_regular
from ...datasets.text import json_objects, split_lines
from ...datasets.values import as_text
from ..encoders.spec import ImageEncoder, TextEncoder
from ..index.effort import QueryKind
from ..store.layout import text_vectors_path
from ..store.npy import map_part, read_array
from ..store.parts import metadata_names, read_metadata
from ..store.snapshot import Snapshot
from ..store.vectors import Vectors

# Parts that captions are drawn from: reading all captions of a billion rows would take hours.
_CAPTION_PARTS = 20
_MOST_CAPTIONS = 10  # of one image
_LEAST = 20  # fewer queries are not divided into two samples
# Rows that the oracle may compare per wanted query; for a larger gallery fewer queries are drawn, at least a tenth.
_PAIRS_PER_QUERY = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Queries of one kind: `emb_QD` float32 of unit length.

    `own_Q` are the rows that the queries were taken from, which do not count as results; −1 for other queries. `source`
    says in words where the queries come from.
    """

    kind: QueryKind
    source: str
    emb_QD: np.ndarray
    own_Q: np.ndarray

    def __len__(self) -> int:
        return len(self.emb_QD)

    def halves(self) -> tuple[Queries, Queries]:
        """One half to tune with and one half to measure with; too few queries are all used for both."""
        if len(self) < 2 * _LEAST:
            return self, self
        return self._take(slice(0, None, 2)), self._take(slice(1, None, 2))

    def _take(self, some: slice) -> Queries:
        return replace(self, emb_QD=self.emb_QD[some], own_Q=self.own_Q[some])


def num_queries(most: int, num_rows: int) -> int:
    """How many queries to draw: fewer for a large gallery, because each is compared with all its rows."""
    return int(min(most, max(most // 10, most * _PAIRS_PER_QUERY / max(num_rows, 1))))


def sample_queries(
    snapshot: Snapshot,
    encoder: ImageEncoder | None,
    *,
    count: int,
    seed: int = 0,
    given: Path | None = None,
) -> list[Queries]:
    """Draws at most `count` queries of each kind: first texts, if there are any, then images.

    Texts come from the file `given`, else from captions of the gallery: their stored vectors (`text_emb`), or else
    their encoded texts. Images are rows of the gallery.

    Raises:
        InputError: if the file cannot be read, or there is no encoder for its texts.
    """
    rng = np.random.default_rng(seed)
    texts = _from_file(given, encoder, snapshot, rng, count) if given else None
    texts = texts or _from_captions(snapshot, encoder, rng, count)
    found = [texts] if texts else []
    rows = rng.permutation(sample_rows(rng, snapshot, count))
    if len(rows):
        emb_QD, usable_Q = _unit(Vectors(snapshot).rows(rows))
        source = "held-out rows of the gallery"
        found.append(Queries(kind="image", source=source, emb_QD=emb_QD, own_Q=rows[usable_Q]))
    return found


def sample_rows(rng: np.random.Generator, snapshot: Snapshot, count: int) -> np.ndarray:
    """At most `count` rows that are not deleted: int64, ascending; drawn without a list of all rows."""
    deleted, num_alive = snapshot.deleted, snapshot.num_alive
    nth = np.sort(rng.choice(num_alive, min(num_alive, count), replace=False))
    # The number of remaining rows before each deleted row says how many deleted rows precede the n-th remaining row.
    return nth + np.searchsorted(deleted - np.arange(len(deleted)), nth, side="right")


def sample_captions(snapshot: Snapshot, rng: np.random.Generator) -> dict[str, dict[int, str]]:
    """Columns of captions as row → text: each `caption_…`, and `caption` where it differs from all of them.

    Further captions of images that have several are columns of their own: `caption 2`, `caption 3` and so on. Up to 20
    parts are read, drawn at random; more only while none of them has a caption.
    """
    root, manifest = snapshot.root, snapshot.manifest
    first_rows = np.cumsum([0, *(rows for _, rows in manifest.parts)])
    columns: dict[str, dict[int, str]] = {"caption": {}}
    drawn = rng.permutation(len(manifest.parts))
    with_rows = [position for position in drawn if manifest.parts[position][1]]  # others may have no files
    for num_read, position in enumerate(with_rows):
        if num_read >= _CAPTION_PARTS and any(columns.values()):
            break
        number, _ = manifest.parts[position]
        names = [
            name
            for name in metadata_names(root, number)
            if name in ("caption", "captions") or name.startswith("caption_")
        ]
        table = read_metadata(root, number, names)
        for name in table.column_names:
            for row, value in enumerate(table[name].to_pylist(), start=int(first_rows[position])):
                for column, text in _captions(name, value):
                    columns.setdefault(column, {})[row] = text
    gone = set(snapshot.deleted.tolist())
    columns = {
        name: {row: texts[row] for row in sorted(texts) if row not in gone} for name, texts in sorted(columns.items())
    }
    main = columns.pop("caption")
    others = {name: texts for name, texts in columns.items() if texts}
    return others if main in others.values() or not main else {"caption": main, **others}


def _captions(column: str, value: object) -> Iterator[tuple[str, str]]:
    """The captions in a cell, and the column that each counts to; the first of several is in `caption` already."""
    if isinstance(value, list):
        for number, text in enumerate(value[1:_MOST_CAPTIONS], start=2):
            if isinstance(text, str) and text.strip():
                yield f"caption {number}", text
    elif isinstance(value, str) and value.strip() and column != "captions":
        yield column, value


def read_queries(path: Path, fields: Sequence[str]) -> list[dict[str, str]]:
    """Reads a JSONL file of queries, each with some text fields. A number is a text, too.

    Raises:
        InputError: if it has none, cannot be read, or a field is missing or blank.
    """
    shape = "{" + ", ".join(f'"{name}": …' for name in fields) + "}"
    try:
        lines = list(json_objects(_read(path), shape=shape))
    except (OSError, ValueError) as error:
        raise InputError(f"the queries {path} cannot be read ({error}); each line: {shape}") from error
    queries = [{name: as_text(line.get(name)) for name in fields} for _, line in lines]
    for (number, line), query in zip(lines, queries, strict=True):
        for name, text in query.items():
            if line.get(name) is None or isinstance(line[name], (bool, list, dict)) or is_blank(text):
                raise InputError(f"line {number} of the queries {path} has no text {name!r}; each line: {shape}")
    if not queries:
        raise InputError(f"the queries {path} have no lines; each line: {shape}")
    return queries


def _read(path: Path) -> str:
    with open_regular(path) as file:
        return decode_text(file.read())


def _read_texts(path: Path) -> list[str]:
    """Reads texts from JSONL with a field `text`, or from one text per line."""
    if path.suffix == ".jsonl":
        return [query["text"] for query in read_queries(path, ("text",))]
    try:
        texts = [line.strip() for line in split_lines(_read(path)) if line.strip()]
    except OSError as error:
        raise InputError(
            f"the queries {path} cannot be read ({error}); give one text per line, .jsonl or .npy"
        ) from error
    if not texts:
        raise InputError(f"the queries {path} have no lines; give one text per line")
    return texts


def _from_file(
    path: Path, encoder: ImageEncoder | None, snapshot: Snapshot, rng: np.random.Generator, count: int
) -> Queries:
    if path.suffix == ".npy":
        emb_QD = _read_vectors(path, snapshot.spec.dim)
    else:
        texts = _read_texts(path)
        if not isinstance(encoder, TextEncoder):
            raise InputError(f"the texts of {path} need an encoder with a text side, {snapshot.spec.name} gives none")
        emb_QD = encoder.encode_texts([texts[i] for i in rng.permutation(len(texts))[:count]])
    emb_QD = emb_QD[rng.permutation(len(emb_QD))[:count]]
    return _texts(f"the file {path.name}", emb_QD)


def _from_captions(
    snapshot: Snapshot, encoder: ImageEncoder | None, rng: np.random.Generator, count: int
) -> Queries | None:
    if snapshot.manifest.texts and not (isinstance(encoder, TextEncoder) and _has_several(snapshot)):
        embedded = _embedded_captions(snapshot, rng, count)
        if embedded is not None:
            return _texts("captions of the gallery", embedded)
    if not isinstance(encoder, TextEncoder):
        return None
    columns = sample_captions(snapshot, rng)
    captions = [text for texts in columns.values() for text in texts.values()]
    if not captions:
        return None
    drawn = [captions[i] for i in rng.permutation(len(captions))[:count]]  # from all columns, so from all languages
    return _texts("captions of the gallery", encoder.encode_texts(drawn))


def _has_several(snapshot: Snapshot) -> bool:
    """Whether images have several captions: then a vector of `text_emb` is a mean, and no query that a user sends."""
    numbers = [number for number, rows in snapshot.manifest.parts if rows][:_CAPTION_PARTS]
    return any("captions" in metadata_names(snapshot.root, number) for number in numbers)


def _embedded_captions(snapshot: Snapshot, rng: np.random.Generator, count: int) -> np.ndarray | None:
    """Caption vectors that the gallery has; rows without a caption have zeros, which are left out."""
    root, manifest = snapshot.root, snapshot.manifest
    rows = rng.permutation(sample_rows(rng, snapshot, count))
    positions, local = manifest.locate(rows)
    emb_QD = np.zeros((len(rows), manifest.spec.dim), np.float32)
    for position in np.unique(positions):
        here = positions == position
        number = manifest.parts[position][0]
        array = map_part(root, number, text_vectors_path(root, number))
        emb_QD[here] = array[local[here]]
    emb_QD, usable_Q = _unit(emb_QD)
    return emb_QD if usable_Q.any() else None


def _unit(emb_QD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The non-zero finite vectors at unit length, and which these are: `Q` bool."""
    lengths_Q = np.linalg.norm(emb_QD, axis=1)
    usable_Q = np.isfinite(lengths_Q) & (lengths_Q > 0)
    return emb_QD[usable_Q] / lengths_Q[usable_Q, None], usable_Q


def _read_vectors(path: Path, dim: int) -> np.ndarray:
    try:
        with path.open("rb") as file:
            emb_QD = read_array(file).astype(np.float32)
    except (OSError, ValueError) as error:
        raise InputError(f"the queries {path} cannot be read ({error}); give an .npy file of vectors") from error
    if emb_QD.ndim != 2 or emb_QD.shape[1] != dim or not len(emb_QD):
        given = "×".join(map(str, emb_QD.shape))
        raise InputError(f"the queries {path} are an array of {given}; the gallery's vectors have {dim} dimensions")
    lengths_Q1 = np.linalg.norm(emb_QD, axis=1, keepdims=True)
    if not (np.isfinite(lengths_Q1) & (lengths_Q1 > 0)).all():
        raise InputError(f"the queries {path} have vectors that are zero or not finite; leave them out")
    return emb_QD / lengths_Q1


def _texts(source: str, emb_QD: np.ndarray) -> Queries:
    return Queries(kind="text", source=source, emb_QD=emb_QD, own_Q=np.full(len(emb_QD), -1))

"""Queries to tune and to measure an index with: captions, a file of real queries, or rows of the gallery.

Texts lie elsewhere than pictures in the space of an encoder, so an index that was tuned on pictures finds less for them
(VIBE, arXiv 2505.17810): whoever sends texts must tune on texts.

Shapes: Q queries, D dimension.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...datasets.errors import InputError
from ..encoders.spec import ImageEncoder, TextEncoder
from ..store.layout import text_vectors_path
from ..store.manifest import Manifest
from ..store.parts import metadata_names, read_metadata
from ..store.vectors import Vectors

# Parts that captions are drawn from, if they have enough: reading all captions of a billion rows takes hours.
_CAPTION_PARTS = 20
_LEAST = 20  # fewer queries say too little to be divided into two samples
# Comparisons with rows that an oracle makes for each query asked for, until fewer queries are drawn; a tenth at least.
_PAIRS_PER_QUERY = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """`emb_QD` float32 of unit length. `own_Q` are the rows that queries were taken from, which do not count as found.

    `source` says in words where they come from; `kind` is `text` or `image`.
    """

    kind: str
    source: str
    emb_QD: np.ndarray
    own_Q: np.ndarray

    def __len__(self) -> int:
        return len(self.emb_QD)

    def halves(self) -> tuple[Queries, Queries]:
        """One half to tune with, the other one to measure with; both are all of them where there are too few."""
        if len(self) < 2 * _LEAST:
            return self, self
        return self._take(slice(0, None, 2)), self._take(slice(1, None, 2))

    def _take(self, some: slice) -> Queries:
        return replace(self, emb_QD=self.emb_QD[some], own_Q=self.own_Q[some])


def num_queries(most: int, num_rows: int) -> int:
    """How many queries to draw: fewer for a large gallery, since each is compared with all of its rows."""
    return int(min(most, max(most // 10, most * _PAIRS_PER_QUERY / max(num_rows, 1))))


def sample_queries(
    root: Path,
    manifest: Manifest,
    encoder: ImageEncoder | None,
    deleted: np.ndarray,
    *,
    count: int,
    seed: int = 0,
    given: Path | None = None,
) -> list[Queries]:
    """At most `count` queries of each kind, drawn with a seed: texts first, where there are any.

    Texts are those of the file `given`; else captions of the gallery, by their vectors where it has them (`text_emb`),
    else through the encoder. Pictures are rows of the gallery.

    Raises:
        InputError: if the file cannot be read, or there is no encoder for its texts.
    """
    rng = np.random.default_rng(seed)
    texts = _from_file(given, encoder, manifest, rng, count) if given else None
    texts = texts or _from_captions(root, manifest, encoder, deleted, rng, count)
    found = [texts] if texts else []
    rows = rng.permutation(sample_rows(rng, manifest.num_rows, deleted, count))
    if len(rows):
        emb_QD, usable_Q = _unit(Vectors(root, manifest).rows(rows))
        source = "held-out rows of the gallery"
        found.append(Queries(kind="image", source=source, emb_QD=emb_QD, own_Q=rows[usable_Q]))
    return found


def sample_rows(rng: np.random.Generator, num_rows: int, deleted: np.ndarray, count: int) -> np.ndarray:
    """At most `count` rows that are not deleted, ascending; drawn without a list of all rows."""
    deleted = deleted[: np.searchsorted(deleted, num_rows)]
    num_alive = num_rows - len(deleted)
    nth = np.sort(rng.choice(num_alive, min(num_alive, count), replace=False))
    # The rows that are alive before each deleted one say how many deleted ones precede the n-th that is alive.
    return nth + np.searchsorted(deleted - np.arange(len(deleted)), nth, side="right")


def sample_captions(
    root: Path, manifest: Manifest, deleted: np.ndarray, rng: np.random.Generator
) -> dict[str, dict[int, str]]:
    """Columns of captions as row → text: each `caption_…`, and `caption` where it says something else.

    Up to 20 parts are read, drawn at random; more only while none of them has a caption.
    """
    first_rows = np.cumsum([0, *(rows for _, rows in manifest.parts)])
    columns: dict[str, dict[int, str]] = {"caption": {}}
    for num_read, position in enumerate(rng.permutation(len(manifest.parts))):
        if num_read >= _CAPTION_PARTS and any(columns.values()):
            break
        number, _ = manifest.parts[position]
        names = [name for name in metadata_names(root, number) if name == "caption" or name.startswith("caption_")]
        table = read_metadata(root, number, names)
        for name in table.column_names:
            texts = enumerate(table[name].to_pylist(), start=int(first_rows[position]))
            columns.setdefault(name, {}).update((row, text) for row, text in texts if _says_something(text))
    gone = set(deleted.tolist())
    columns = {
        name: {row: texts[row] for row in sorted(texts) if row not in gone} for name, texts in sorted(columns.items())
    }
    main = columns.pop("caption")
    others = {name: texts for name, texts in columns.items() if texts}
    return others if main in others.values() or not main else {"caption": main, **others}


def read_queries(path: Path, fields: Sequence[str]) -> list[dict[str, str]]:
    """The lines of a JSONL file of queries, each with some fields of text.

    Raises:
        InputError: if it has none, cannot be read, or a field is missing.
    """
    shape = "{" + ", ".join(f'"{name}": …' for name in fields) + "}"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        queries = [{name: str(line[name]) for name in fields} for line in lines]
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"the queries {path} cannot be read ({reason}); each line: {shape}") from error
    if not queries:
        raise InputError(f"the queries {path} have no lines; each line: {shape}")
    return queries


def _read_texts(path: Path) -> list[str]:
    """Texts, from JSONL with a field `text`, or one a line."""
    if path.suffix == ".jsonl":
        return [query["text"] for query in read_queries(path, ("text",))]
    try:
        texts = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the queries {path} cannot be read ({error}); give a text a line, .jsonl or .npy") from error
    if not texts:
        raise InputError(f"the queries {path} have no lines; give a text a line")
    return texts


def _from_file(
    path: Path, encoder: ImageEncoder | None, manifest: Manifest, rng: np.random.Generator, count: int
) -> Queries:
    if path.suffix == ".npy":
        emb_QD = _read_vectors(path, manifest.spec.dim)
    else:
        texts = _read_texts(path)
        if not isinstance(encoder, TextEncoder):
            raise InputError(f"the texts of {path} need an encoder with a text side, {manifest.spec.name} gives none")
        emb_QD = encoder.encode_texts([texts[i] for i in rng.permutation(len(texts))[:count]])
    emb_QD = emb_QD[rng.permutation(len(emb_QD))[:count]]
    return _texts(f"the file {path.name}", emb_QD)


def _from_captions(
    root: Path,
    manifest: Manifest,
    encoder: ImageEncoder | None,
    deleted: np.ndarray,
    rng: np.random.Generator,
    count: int,
) -> Queries | None:
    embedded = _embedded_captions(root, manifest, deleted, rng, count) if manifest.texts else None
    if embedded is not None:
        return _texts("captions of the gallery", embedded)
    if not isinstance(encoder, TextEncoder):
        return None
    columns = sample_captions(root, manifest, deleted, rng)
    captions = [text for texts in columns.values() for text in texts.values()]
    if not captions:
        return None
    drawn = [captions[i] for i in rng.permutation(len(captions))[:count]]  # of all columns, so of all languages
    return _texts("captions of the gallery", encoder.encode_texts(drawn))


def _embedded_captions(
    root: Path, manifest: Manifest, deleted: np.ndarray, rng: np.random.Generator, count: int
) -> np.ndarray | None:
    """Vectors of captions that the gallery has; rows without caption are zeros and do not count."""
    rows = rng.permutation(sample_rows(rng, manifest.num_rows, deleted, count))
    positions, local = manifest.locate(rows)
    emb_QD = np.zeros((len(rows), manifest.spec.dim), np.float32)
    for position in np.unique(positions):
        here = positions == position
        array = np.load(text_vectors_path(root, manifest.parts[position][0]), mmap_mode="r", allow_pickle=False)
        emb_QD[here] = array[local[here]]
    emb_QD, usable_Q = _unit(emb_QD)
    return emb_QD if usable_Q.any() else None


def _unit(emb_QD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vectors that point somewhere, at unit length, and which these are; rows without a vector are zeros."""
    lengths_Q = np.linalg.norm(emb_QD, axis=1)
    usable_Q = np.isfinite(lengths_Q) & (lengths_Q > 0)
    return emb_QD[usable_Q] / lengths_Q[usable_Q, None], usable_Q


def _says_something(text: object) -> bool:
    return isinstance(text, str) and bool(text.strip())


def _read_vectors(path: Path, dim: int) -> np.ndarray:
    try:
        emb_QD = np.asarray(np.load(path, allow_pickle=False), np.float32)
    except (OSError, ValueError, TypeError, EOFError) as error:
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

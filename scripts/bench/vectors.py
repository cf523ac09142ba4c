"""Galleries of vectors to measure indexes with: synthetic ones, or real ones from a file.

Shapes: N rows, D dimension, Q queries, K results.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ...datasets.errors import InputError
from ...datasets.files import write_json
from ...datasets.types import Shard
from ...indexing.encoders import EncoderSpec
from ...indexing.index.exact import exact_search
from ...indexing.store.manifest import Manifest
from ...indexing.store.parts import write_part
from ...indexing.store.records import read_part
from ...indexing.store.snapshot import Snapshot
from ...indexing.store.vectors import Vectors
from .generator import Generator, Recipe, unit
from .records import web_records

log = logging.getLogger(__name__)

SYNTHETIC = "synthetic"
NUM_TUNING, NUM_QUERIES, K = 2000, 1000, 10
# The generator's blocks: a part of a gallery has its own number, queries have numbers that no part reaches.
TUNING_BLOCK, _QUERY_BLOCK = 1_000_000, 1_000_001
# Seeds the metadata, together with the part's number.
_METADATA = 3
_LARGE = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A gallery and its queries on disk.

    Attributes:
        folder: holds all of it.
        source: "synthetic", or the file of the vectors.
        kinds: the kinds of queries to measure with: "text" (first, if there are texts) and "image".
        tuning: the file of queries that `diantu index` gets for tuning; None if there are only images.
    """

    folder: Path
    source: str
    kinds: tuple[str, ...]
    tuning: Path | None

    @property
    def gallery(self) -> Path:
        """The gallery's folder."""
        return self.folder / "gallery"

    def queries(self, kind: str) -> Path:
        """The file of the queries to measure with: `emb_QD` float32."""
        return self.folder / "queries" / f"{kind}.npy"

    def exact(self, kind: str) -> Path:
        """The file of their exact results: `rows_QK` int64."""
        return self.folder / "queries" / f"exact_{kind}.npy"


def synthetic(folder: Path, num_rows: int, *, part_rows: int | None = None, seed: int = 0) -> Bench:
    """Makes a synthetic gallery in a folder, or continues the one that is there.

    Args:
        folder: where.
        num_rows: of the gallery.
        part_rows: rows of each part; by default many.
        seed: of the vectors.

    Raises:
        InputError: if the folder holds something else.
    """
    recipe, size = Recipe(seed=seed), part_rows or _part_rows(num_rows)
    generator = Generator(recipe)
    queries = {
        "tuning": generator.texts(NUM_TUNING, TUNING_BLOCK),
        "text": generator.texts(NUM_QUERIES, _QUERY_BLOCK),
        "image": generator.images(NUM_QUERIES, _QUERY_BLOCK),
    }
    source = {"vectors": SYNTHETIC, "rows": num_rows, **asdict(recipe)}
    if part_rows:
        source["part_rows"] = part_rows
    return _made(folder, source, recipe.dim, lambda low, high: generator.images(high - low, low // size), queries)


def real(folder: Path, vectors: Path, queries: Path | None, num_rows: int | None, *, seed: int = 0) -> Bench:
    """Makes a gallery of the vectors of an .npy file, or continues the one that is there.

    Some rows are left out of the gallery and become the image queries. The queries of a file are divided into those for
    tuning and those for measuring.

    Raises:
        InputError: if a file cannot be used, or the folder holds something else.
    """
    base_ND, asked_QD = _array(vectors), _array(queries) if queries else None
    if asked_QD is not None and asked_QD.shape[1] != base_ND.shape[1]:
        raise InputError(f"{queries} has {asked_QD.shape[1]} dimensions, {vectors} has {base_ND.shape[1]}")
    order = np.random.default_rng(seed).permutation(len(base_ND))
    left_out, kept = np.sort(order[:NUM_QUERIES]), np.sort(order[NUM_QUERIES:][:num_rows])
    if not len(kept):
        raise InputError(f"{vectors} has {len(base_ND)} rows; give more than {NUM_QUERIES}, which become queries")
    drawn = {"image": unit(base_ND[left_out])}
    if asked_QD is not None:
        mixed, measuring = np.random.default_rng(seed).permutation(len(asked_QD)), min(NUM_QUERIES, len(asked_QD) // 2)
        drawn["text"] = unit(asked_QD[np.sort(mixed[:measuring])])
        drawn["tuning"] = unit(asked_QD[np.sort(mixed[measuring:][:NUM_TUNING])])
    files = {"vectors": str(vectors.resolve()), "queries": str(queries.resolve()) if queries else None}
    source = {**files, "rows": len(kept), "seed": seed}
    return _made(folder, source, base_ND.shape[1], lambda low, high: unit(base_ND[kept[low:high]]), drawn)


def _made(
    folder: Path,
    source: dict[str, Any],
    dim: int,
    rows: Callable[[int, int], np.ndarray],
    queries: dict[str, np.ndarray],
) -> Bench:
    """Makes a gallery or continues it; `bench.json` says what the folder must hold, and whether it is complete."""
    bench = Bench(
        folder=folder,
        source=source["vectors"],
        kinds=tuple(kind for kind in ("text", "image") if kind in queries),
        tuning=folder / "queries" / "tuning.npy" if "tuning" in queries else None,
    )
    marker = folder / "bench.json"
    if not marker.exists() and folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} holds something else; give a new folder")
    state = json.loads(marker.read_text()) if marker.exists() else {"source": source, "complete": False}
    if state["source"] != source:
        raise InputError(f"{folder} holds the vectors of {state['source']}, not of {source}; give another folder")
    if not state["complete"]:
        write_json(marker, state)
        part_rows = source.get("part_rows") or _part_rows(source["rows"])
        _write_gallery(bench.gallery, source["rows"], dim, part_rows, rows)
        (folder / "queries").mkdir(exist_ok=True)
        for name, emb_QD in queries.items():
            np.save(bench.queries(name), emb_QD)
        _write_exact(bench, Vectors(Snapshot.read(bench.gallery)))
        write_json(marker, {**state, "complete": True})
    return bench


def _write_exact(bench: Bench, vectors: Vectors) -> None:
    """Writes the exact results of all queries, the one oracle of everything that is measured."""
    log.info("searching %s queries exhaustively", " and ".join(bench.kinds))
    queries = [np.load(bench.queries(kind)) for kind in bench.kinds]
    _, rows_QK = exact_search(vectors, np.concatenate(queries), K)
    ends = np.cumsum([len(queries_QD) for queries_QD in queries])[:-1]
    for kind, exact_QK in zip(bench.kinds, np.split(rows_QK, ends), strict=True):
        np.save(bench.exact(kind), exact_QK)


def _write_gallery(root: Path, num_rows: int, dim: int, size: int, rows: Callable[[int, int], np.ndarray]) -> Manifest:
    """Writes parts of vectors with the metadata that filters are measured with; existing parts are kept."""
    manifest = bench_manifest(dim)
    sides: _Sides | None = None
    for number, low in enumerate(tqdm(range(0, num_rows, size), desc="writing vectors", unit=" parts")):
        high = min(low + size, num_rows)
        if read_part(root, number) is None:
            sides = sides or _Sides(rows(0, min(size, num_rows)))
            shard = Shard(uri=f"/bench/{number:05d}.tar", format="webdataset", size_bytes=0)
            emb_ND = rows(low, high)
            records = _records(low, sides.of(emb_ND), np.random.default_rng((_METADATA, number)))
            fingerprint = manifest.spec.fingerprint
            write_part(root, number, shard, fingerprint=fingerprint, emb_ND=emb_ND, records=records)
    manifest = manifest.with_committed(root)
    manifest.save(root)
    return manifest


class _Sides:
    """The similarity of rows to the first row, as a quantile: a condition on it is correlated with the query."""

    def __init__(self, emb_ND: np.ndarray) -> None:
        self._direction_D = emb_ND[0]
        self._quantiles = np.quantile(emb_ND[1:] @ self._direction_D, np.linspace(0, 1, 100_001))

    def of(self, emb_ND: np.ndarray) -> np.ndarray:
        """`N` float64 from 0 to 1, nearly uniform; 1 is the most similar."""
        return np.interp(emb_ND @ self._direction_D, self._quantiles, np.linspace(0, 1, len(self._quantiles)))


def _records(first: int, sides_N: np.ndarray, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Metadata: `chance` is independent of the vector; `punsafe` and `width` are distributed like those of LAION."""
    count = len(sides_N)
    columns = {
        "key": map(str, range(first, first + count)),
        "width": rng.integers(64, 2049, count).tolist(),
        "punsafe": rng.beta(0.3, 4, count).tolist(),
        "chance": rng.random(count).tolist(),
        "side": sides_N.tolist(),
    }
    own = zip(*columns.values(), strict=True)
    return [
        {**record, **dict(zip(columns, values, strict=True))}
        for record, values in zip(web_records(first, count, rng), own, strict=True)
    ]


def bench_manifest(dim: int) -> Manifest:
    """The manifest of a gallery without rows, whose vectors come from no encoder."""
    spec = EncoderSpec(
        name="hf:bench",
        weights="none",
        weights_sha256="0",
        dim=dim,
        image_size=8,
        resize="squash",
        resize_size=8,
        interpolation="bicubic",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )
    return Manifest(encoders=(spec,))


def _part_rows(num_rows: int) -> int:
    return 100_000 if num_rows >= _LARGE else 50_000


def _array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); give an .npy file of vectors") from error
    if array.ndim != 2 or array.dtype.kind != "f":
        raise InputError(f"{path} is an array of {array.shape}, {array.dtype}; give vectors of float16 or float32")
    return array

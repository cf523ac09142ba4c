"""Galleries of vectors to measure indexes with: synthetic ones that behave as CLIP's do, or real ones from a file.

Pictures: a random centre, of a power-law spectrum (the i-th eigenvalue ∝ 1/i), chosen with Zipf's probabilities, plus
noise of a nearly flat spectrum (∝ i^−0.3), plus a direction that all pictures share. Texts: the same content, more of
that noise, and a direction that they share with pictures only in part. All are rotated by one random orthogonal matrix
and scaled to unit length. So texts lie apart from pictures, with their nearest pictures far away and scattered over
many lists, which is what makes text queries hard (VIBE, arXiv 2505.17810).

The strengths were chosen so that at 1 000 000 rows of 512 dimensions an index of 2048 lists finds, in the 16 nearest of
them, 0.936 of the ten nearest pictures of a picture and 0.791 of those of a text (LAION-CLIP: 0.93 and 0.79); texts
need about five times as many lists for the same share; the mean cosine of a text and a picture is 0.14. The switch
`--calibration` of `bench_index` measures this again.

Shapes: N rows, D dimension, Q queries, K results, L lists.
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

from ...datasets import InputError, Shard
from ...datasets.files import write_json
from ...indexing.encoders import EncoderSpec
from ...indexing.index.exact import exact_search
from ...indexing.store.manifest import Manifest
from ...indexing.store.parts import read_part, write_part
from ...indexing.store.vectors import Vectors

log = logging.getLogger(__name__)

SYNTHETIC = "synthetic"
NUM_TUNING, NUM_QUERIES, K = 2000, 1000, 10
# Streams of random numbers: a block of a gallery is seeded by its number, queries by numbers that no block reaches.
_PICTURES, _TEXTS, _METADATA = 1, 2, 3
_TUNING_BLOCK, _QUERY_BLOCK = 1_000_000, 1_000_001
_LARGE = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The strengths of what vectors are made of; see the module."""

    dim: int = 512
    num_centres: int = 20_000
    zipf: float = 0.5
    centre_decay: float = 1.0
    noise_decay: float = 0.3
    picture_noise: float = 0.9
    text_noise: float = 1.0
    text_gap: float = 0.3  # along the texts' own direction
    shared_gap: float = 0.4  # along the pictures' direction
    seed: int = 0


class Generator:
    """Pictures and texts of a recipe, block by block; the same numbers for the same block, in any order."""

    def __init__(self, recipe: Recipe) -> None:
        rng = np.random.default_rng(recipe.seed)
        dim = recipe.dim
        self._recipe = recipe
        self._noise_D = _spectrum(dim, recipe.noise_decay)
        self._centres = rng.standard_normal((recipe.num_centres, dim), dtype=np.float32)
        self._centres *= _spectrum(dim, recipe.centre_decay)
        chances = np.arange(1, recipe.num_centres + 1) ** -recipe.zipf
        self._chances = chances / chances.sum()
        self._rotation_DD = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
        gaps_2D = rng.standard_normal((2, dim)).astype(np.float32)
        picture_gap, own_gap = gaps_2D / np.linalg.norm(gaps_2D, axis=1, keepdims=True)
        self._picture_gap = picture_gap
        self._text_gap = recipe.text_gap * own_gap + recipe.shared_gap * picture_gap

    def pictures(self, count: int, block: int) -> np.ndarray:
        """`emb_ND` float32 of unit length."""
        rng = np.random.default_rng((_PICTURES, self._recipe.seed, block))
        return self._finished(self._content(rng, count) + self._picture_gap)

    def texts(self, count: int, block: int) -> np.ndarray:
        """`emb_ND` float32 of unit length."""
        rng = np.random.default_rng((_TEXTS, self._recipe.seed, block))
        content_ND = self._content(rng, count) + self._text_gap
        return self._finished(content_ND + self._recipe.text_noise * self._noise(rng, count))

    def _content(self, rng: np.random.Generator, count: int) -> np.ndarray:
        chosen = rng.choice(len(self._chances), count, p=self._chances)
        return self._centres[chosen] + self._recipe.picture_noise * self._noise(rng, count)

    def _noise(self, rng: np.random.Generator, count: int) -> np.ndarray:
        return self._noise_D * rng.standard_normal((count, self._recipe.dim), dtype=np.float32)

    def _finished(self, emb_ND: np.ndarray) -> np.ndarray:
        return unit(emb_ND @ self._rotation_DD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A gallery and its queries on disk. `kinds` are those of its measuring queries, `text` first where there are any.

    `tuning` is the file that `diantu index` is given, None where there are only pictures to ask with.
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
        """The file of queries to measure with: `emb_QD` float32."""
        return self.folder / "queries" / f"{kind}.npy"

    def exact(self, kind: str) -> Path:
        """The file of their exact answers: `rows_QK` int64."""
        return self.folder / "queries" / f"exact_{kind}.npy"


def synthetic(folder: Path, num_rows: int, *, seed: int = 0) -> Bench:
    """Makes a synthetic gallery in a folder, or goes on with the one there.

    Raises:
        InputError: if the folder holds something else.
    """
    recipe, size = Recipe(seed=seed), _part_rows(num_rows)
    generator = Generator(recipe)
    queries = {
        "tuning": generator.texts(NUM_TUNING, _TUNING_BLOCK),
        "text": generator.texts(NUM_QUERIES, _QUERY_BLOCK),
        "image": generator.pictures(NUM_QUERIES, _QUERY_BLOCK),
    }
    source = {"vectors": SYNTHETIC, "rows": num_rows, **asdict(recipe)}
    return _made(folder, source, recipe.dim, lambda low, high: generator.pictures(high - low, low // size), queries)


def real(folder: Path, vectors: Path, queries: Path | None, num_rows: int | None, *, seed: int = 0) -> Bench:
    """Makes a gallery of the vectors of an .npy file, or goes on with the one there.

    Some rows are left out to be the queries of pictures. Queries of a file are divided into those that tune and those
    that measure.

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


def shares_found(bench: Bench, vectors: Vectors, num_lists: int = 2048, nprobe: int = 16) -> dict[str, Any]:
    """What the recipe was chosen by: the share of exact answers in the nearest lists, for every kind of queries."""
    import faiss

    rows = np.sort(np.random.default_rng(1).choice(len(vectors), min(len(vectors), 30 * num_lists), replace=False))
    kmeans = faiss.Kmeans(vectors.dim, num_lists, niter=8, spherical=True, seed=1, min_points_per_centroid=1)
    kmeans.train(vectors.rows(rows))
    lists = faiss.IndexFlatIP(vectors.dim)
    lists.add(kmeans.centroids)  # type: ignore[reportArgumentType]
    list_N = np.concatenate([lists.search(emb_ND, 1)[1][:, 0] for _, emb_ND in vectors.blocks()])
    found: dict[str, Any] = {}
    for kind in bench.kinds:
        queries_QD, exact_QK = np.load(bench.queries(kind)), np.load(bench.exact(kind))
        order_QL = lists.search(queries_QD, num_lists)[1]
        rank_QL = np.empty_like(order_QL)
        np.put_along_axis(rank_QL, order_QL, np.arange(num_lists)[None].repeat(len(queries_QD), 0), axis=1)
        rank_QK = np.take_along_axis(rank_QL, list_N[exact_QK], axis=1)
        found[kind] = {f"nprobe {n}": round(float((rank_QK < n).mean()), 3) for n in (nprobe, 5 * nprobe)}
        found[kind]["mean cosine"] = round(float((queries_QD @ vectors.rows(rows[:10_000]).T).mean()), 3)
    return found


def unit(emb_ND: np.ndarray) -> np.ndarray:
    """Vectors as float32 of unit length."""
    emb_ND = emb_ND.astype(np.float32)
    return emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True)


def _made(
    folder: Path,
    source: dict[str, Any],
    dim: int,
    rows: Callable[[int, int], np.ndarray],
    queries: dict[str, np.ndarray],
) -> Bench:
    """What the folder has is gone on with; its marker says what it is to hold, and whether it does."""
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
        manifest = _write_gallery(bench.gallery, source["rows"], dim, rows)
        (folder / "queries").mkdir(exist_ok=True)
        for name, emb_QD in queries.items():
            np.save(bench.queries(name), emb_QD)
        _write_exact(bench, Vectors(bench.gallery, manifest))
        write_json(marker, {**state, "complete": True})
    return bench


def _write_exact(bench: Bench, vectors: Vectors) -> None:
    """The one oracle for all that is measured: every query is compared with every row."""
    log.info("comparing %s queries with every row", " and ".join(bench.kinds))
    queries = [np.load(bench.queries(kind)) for kind in bench.kinds]
    _, rows_QK = exact_search(vectors, np.concatenate(queries), K)
    ends = np.cumsum([len(queries_QD) for queries_QD in queries])[:-1]
    for kind, exact_QK in zip(bench.kinds, np.split(rows_QK, ends), strict=True):
        np.save(bench.exact(kind), exact_QK)


def _write_gallery(root: Path, num_rows: int, dim: int, rows: Callable[[int, int], np.ndarray]) -> Manifest:
    """Parts of vectors with the metadata that filters are measured on; those that are there already are kept."""
    manifest, size = bench_manifest(dim), _part_rows(num_rows)
    sides: _Sides | None = None
    for number, low in enumerate(tqdm(range(0, num_rows, size), desc="making vectors", unit=" parts")):
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
    """How far rows lie on the side of one of them, as a share of all rows: a condition on it goes with the query."""

    def __init__(self, emb_ND: np.ndarray) -> None:
        self._direction_D = emb_ND[0]
        self._quantiles = np.quantile(emb_ND[1:] @ self._direction_D, np.linspace(0, 1, 100_001))

    def of(self, emb_ND: np.ndarray) -> np.ndarray:
        """`N` float64 from 0 to 1, nearly uniform; 1 is the nearest."""
        return np.interp(emb_ND @ self._direction_D, self._quantiles, np.linspace(0, 1, len(self._quantiles)))


def _records(first: int, sides_N: np.ndarray, rng: np.random.Generator) -> list[dict[str, Any]]:
    """`chance` has nothing to do with the vector; `punsafe` and `width` are like those of LAION."""
    count = len(sides_N)
    columns = {
        "key": map(str, range(first, first + count)),
        "width": rng.integers(64, 2049, count).tolist(),
        "punsafe": rng.beta(0.3, 4, count).tolist(),
        "chance": rng.random(count).tolist(),
        "side": sides_N.tolist(),
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def bench_manifest(dim: int) -> Manifest:
    """A gallery of vectors that no encoder made, without rows."""
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


def _spectrum(dim: int, decay: float) -> np.ndarray:
    """Standard deviations whose squares fall as a power of the position and sum to one."""
    eigenvalues = np.arange(1, dim + 1) ** -decay
    return np.sqrt(eigenvalues / eigenvalues.sum()).astype(np.float32)


def _array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); give an .npy file of vectors") from error
    if array.ndim != 2 or array.dtype.kind != "f":
        raise InputError(f"{path} is an array of {array.shape}, {array.dtype}; give vectors of float16 or float32")
    return array

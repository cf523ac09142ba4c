"""Which index to build for some rows and a memory budget, and what it will cost, before any work starts.

The codes of an index are coarse and the final scores are exact: candidates are scored again from the float16 rows on
disk. So the codes must fit into memory, and `tune` reaches the requested recall with more lists and more candidates.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ...datasets.errors import InputError
from ..index.report import IndexSpec
from ..index.vamana import degree as vamana_degree

# Up to this many rows, exact search takes some milliseconds, and no approximation is worth the effort.
_EXACT_ROWS = 100_000
# Training vectors per list: FAISS warns below 39, and more than 64 gain nothing.
_TRAIN_PER_LIST = 39
_TRAIN_AT_LEAST = 65_536  # rows, if there are as many
# Up to this many lists, training takes minutes, and the lists nearest to a query are found by comparing the codes of
# all centres, and some centres exactly: five times as fast as all of them exactly. For more lists a graph is faster.
_CHEAP_LISTS = 16_384
_MAX_LISTS = 262_144
# FAISS stores the row id next to each code.
_ID_BYTES = 8
# Fast-scan codes are stored in blocks of 32 rows, so every list wastes half a block on average.
_PADDING_ROWS = 16
# Multiply-adds per second of one core with AVX2, for the estimate of time, which may be off by a factor of two.
_SPEED = 4e10
# Seconds of one core for an edge of SVS's graph, with 128 to 512 dimensions: waiting for memory takes most of them.
_EDGE_SECONDS = 2e-5
_LEAST_DEGREE, _MOST_DEGREE = 8, 256  # edges per row
_MIN_RECALL, _MAX_RECALL = 0.5, 0.999


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A specification, why it was chosen, and estimates: bytes in memory while searching, bytes on disk, seconds."""

    spec: IndexSpec
    reason: str
    ram_bytes: int
    disk_bytes: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.spec.factory}: {self.reason}; about {readable(self.ram_bytes)} of memory, "
            f"{readable(self.disk_bytes)} on disk, {self.seconds:.0f} s to build"
        )


def plan(
    num_rows: int,
    dim: int,
    *,
    memory_budget: int | None = None,
    factory: str | None = None,
    num_threads: int = 1,
    seed: int = 0,
) -> Plan:
    """Chooses the index for some rows.

    Args:
        num_rows: rows of the gallery.
        dim: dimension of its vectors.
        memory_budget: bytes that a searching process may spend on the index; None sets no limit.
        factory: FAISS's factory string, or `SVSVamana64,FP16`, to choose the index oneself.
        num_threads: threads that build, for the estimate of time.
        seed: of the training sample.

    Raises:
        InputError: if nothing fits the budget (the message says what would), or the factory string cannot be used.
    """
    if factory:
        spec = _spec(factory, num_rows, seed)
        estimate = _estimate_graph if spec.is_vamana else _estimate
        chosen = estimate(spec, num_rows, dim, num_threads, "chosen by --factory")
        if memory_budget is not None and chosen.ram_bytes > memory_budget:
            raise InputError(
                f"{factory} needs about {readable(chosen.ram_bytes)} of memory, the budget is "
                f"{readable(memory_budget)}; give one of them alone"
            )
        return chosen
    options = [
        _estimate(_spec(name, num_rows, seed), num_rows, dim, num_threads, reason)
        for name, reason in _candidates(num_rows, dim)
    ]
    for option in options:
        if memory_budget is None or option.ram_bytes <= memory_budget:
            return option
    least = min(options, key=lambda option: option.ram_bytes)
    raise InputError(
        f"{num_rows} rows of {dim} dimensions need at least {readable(least.ram_bytes)} ({least.spec.factory}), the "
        f"memory budget is {readable(memory_budget or 0)}; give more, or split the gallery"
    )


def num_lists(num_rows: int) -> int:
    """Number of inverted lists, a power of two: 8√N, or 4√N where training so many would take hours."""
    many, few = (2 ** round(math.log2(factor * max(num_rows, 1) ** 0.5)) for factor in (8, 4))
    return max(min(many, _CHEAP_LISTS), min(few, _MAX_LISTS))


def parse_bytes(text: str) -> int:
    """Parses a size such as `2GB`, `500 MB` or `1.5G` to bytes; the units are powers of ten.

    Raises:
        InputError: if the text is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)B?\s*", text, re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise InputError(f"the memory budget {text!r} is not a size; write it as 500MB or 2GB")
    return int(float(match[1]) * 1000 ** " KMGT".index(match[2].upper() or " "))


def readable(num_bytes: float) -> str:
    """A number of bytes in a readable unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


def check_recall(target: float) -> float:
    """Returns a target recall unchanged.

    Raises:
        InputError: if an approximate index cannot be tuned for it.
    """
    if not _MIN_RECALL <= target <= _MAX_RECALL:
        raise InputError(
            f"the target recall is {target}; give {_MIN_RECALL} to {_MAX_RECALL}, or search with effort exact"
        )
    return target


def _candidates(num_rows: int, dim: int) -> list[tuple[str, str]]:
    """Factory strings with reasons, in order of preference: faster ones first, smaller ones later."""
    lists = num_lists(num_rows)
    if lists > _CHEAP_LISTS:
        coarse = f"IVF{lists}_HNSW32"
    else:
        coarse = f"IVF{lists}(PQ{dim // 2}x4fs,Refine(SQ8))" if dim % 2 == 0 and lists >= 256 else f"IVF{lists}"
    options = []
    if num_rows <= _EXACT_ROWS:
        options.append(("Flat", f"up to {_EXACT_ROWS} rows exact search takes milliseconds"))
    for per_code, reason in (
        (2, "the fastest index that reaches any recall, with exact scores from the rows on disk"),
        (4, "codes of half the size, to fit the memory budget"),
        (8, "codes of a quarter of the size, to fit the memory budget"),
    ):
        if dim % per_code == 0 and num_rows > lists:
            options.append((f"{coarse},PQ{dim // per_code}x4fsr", reason))
    if dim % 2 and num_rows > lists:  # an odd number of values cannot be coded by pairs
        options.append((f"{coarse},SQ8", "one byte per value, with exact scores from the rows on disk"))
    return options or [("Flat", "there are so few rows that exact search is fast")]


def _spec(factory: str, num_rows: int, seed: int) -> IndexSpec:
    if "SVS" in factory and not _LEAST_DEGREE <= (vamana_degree(factory) or 0) <= _MOST_DEGREE:
        raise InputError(
            f"the factory {factory} is not a graph of SVS that is known here; give SVSVamana64,FP16, with "
            f"{_LEAST_DEGREE} to {_MOST_DEGREE} edges per row"
        )
    if re.search(r"Refine|RFlat$", re.sub(r"\(.*?\)", "", factory)):
        raise InputError(
            f"the factory {factory} ends in a refinement; leave it out, because candidates are scored again anyway"
        )
    lists = re.search(r"IVF(\d+)", factory)
    if lists and int(lists[1]) > max(num_rows, 1):
        raise InputError(f"the factory {factory} has more lists than the gallery has rows ({num_rows}); give fewer")
    wanted = max(_TRAIN_PER_LIST * int(lists[1]) if lists else 0, _TRAIN_AT_LEAST)
    return IndexSpec(
        factory=factory,
        train_rows=0 if factory == "Flat" or vamana_degree(factory) else min(num_rows, wanted),
        seed=seed,
    )


def _estimate(spec: IndexSpec, num_rows: int, dim: int, num_threads: int, reason: str) -> Plan:
    lists = int(found[1]) if (found := re.search(r"IVF(\d+)", spec.factory)) else 0
    code = code_bytes(spec.factory, dim)
    padding = lists * _PADDING_ROWS if "fs" in spec.factory else 0
    centre = dim + dim // 4 if "(PQ" in spec.factory else 4 * dim
    index_bytes = (num_rows + padding) * code + (num_rows * _ID_BYTES if lists else 0) + lists * centre
    if "HNSW" in spec.factory:
        index_bytes += (lists or num_rows) * 300
    compared = lists / 5 if "(PQ" in spec.factory else 1000 if "HNSW" in spec.factory else lists
    compared_in_training = lists if "HNSW" in spec.factory else compared
    multiplications = dim * (num_rows * (compared + 300) + 8 * spec.train_rows * compared_in_training)
    seconds = multiplications / (_SPEED * num_threads) + 10
    return Plan(spec=spec, reason=reason, ram_bytes=index_bytes, disk_bytes=index_bytes, seconds=seconds)


def _estimate_graph(spec: IndexSpec, num_rows: int, dim: int, num_threads: int, reason: str) -> Plan:
    """SVS holds the edges and the float16 rows in memory; the edges are stored."""
    degree = vamana_degree(spec.factory) or 0
    edge_bytes = num_rows * 4 * (degree + 1)
    seconds = num_rows * degree * _EDGE_SECONDS / num_threads + 10
    return Plan(
        spec=spec, reason=reason, ram_bytes=edge_bytes + 2 * num_rows * dim, disk_bytes=edge_bytes, seconds=seconds
    )


def code_bytes(factory: str, dim: int) -> int:
    """Bytes of a row's code, from the last component of a factory string."""
    code = factory.rpartition(",")[2]
    if match := re.match(r"PQ(\d+)(?:x(\d+))?", code):
        return int(match[1]) * int(match[2] or 8) // 8
    if match := re.match(r"SQ(4|6|8|fp16|bf16)", code):
        return dim * {"4": 4, "6": 6, "8": 8}.get(match[1], 16) // 8
    if match := re.match(r"RaBitQ(?:fs)?(\d*)", code):
        return dim * int(match[1] or 1) // 8 + 16
    return dim * 4

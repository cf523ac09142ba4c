"""What the number of parts costs: the same rows in few and in many parts, in one run.

    python -m diantu.scripts.bench_parts --output FOLDER [--rows 100000] [--parts 10000]

Times of commands and searches with a gallery in 10 parts, in a tenth of the parts and in all, in seconds, and what one
part adds: the difference between the most and the fewest parts, divided by the difference of their numbers. Every
command runs in a process of its own, start-up included, on files that are in memory.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..datasets import InputError
from ..datasets.types import Shard
from ..indexing.store.ledger import Ledger
from ..indexing.store.parts import write_part
from ..search import Gallery
from .bench.generator import Generator, Recipe
from .bench.records import web_records
from .bench.vectors import bench_manifest
from .main import call

_DIM = 64
_WHERE = "width >= 512 AND punsafe < 0.1"


def run(output: str, rows: int = 100_000, parts: int = 10_000, seed: int = 0) -> int:
    """Measures galleries of the same rows in several numbers of parts.

    Args:
        output: a new folder for the galleries.
        rows: number of rows of each.
        parts: the largest number of parts, at least 200.
        seed: of the vectors.
    """
    folder = Path(output)
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; give a new folder")
    if parts < 200 or rows < parts:
        raise InputError(f"{rows} rows in {parts} parts cannot be compared; give at least 200 parts, and as many rows")
    numbers = [10, parts // 10, parts]
    emb_ND = Generator(Recipe(dim=_DIM, seed=seed)).images(rows, 0)
    table: dict[str, list[float]] = {}
    for number in numbers:
        gallery = _written(folder / str(number), emb_ND, number)
        for what, seconds in _measured(gallery, emb_ND[rows // 2]).items():
            table.setdefault(what, []).append(seconds)
    print(f"{rows} rows, seconds\n{'':34}" + "".join(f"{number:>9} parts" for number in numbers) + "   per part")
    for what, measured in table.items():
        added = 1000 * (measured[-1] - measured[0]) / (numbers[-1] - numbers[0])
        print(f"{what:<34}" + "".join(f"{seconds:>15.3f}" for seconds in measured) + f"  {added:8.3f} ms")
    return 0


def _written(root: Path, emb_ND: np.ndarray, num_parts: int) -> Path:
    manifest = bench_manifest(_DIM)
    shards = [Shard(uri=f"/bench/{i:05d}.tar", format="webdataset", size_bytes=i) for i in range(num_parts)]
    Ledger(root).assign(shards)
    cuts = np.linspace(0, len(emb_ND), num_parts + 1).astype(int).tolist()
    rng = np.random.default_rng(0)
    for number, shard in enumerate(tqdm(shards, desc="writing", unit=" parts")):
        low, high = cuts[number], cuts[number + 1]
        records = web_records(low, high - low, rng)
        write_part(root, number, shard, fingerprint=manifest.spec.fingerprint, emb_ND=emb_ND[low:high], records=records)
    manifest.with_committed(root).save(root)
    return root


def _measured(root: Path, query_D: np.ndarray) -> dict[str, float]:
    """Seconds by what was done, in this order."""
    compacted, merged = (root.with_name(f"{root.name}-{name}") for name in ("compacted", "merged"))
    seconds = {
        "status": _command("status", "--gallery", root),
        "first search, no row store": _seconds(lambda: _search(root, query_D, None)),
        "first condition, no row store": _seconds(lambda: _search(root, query_D, _WHERE)),
        "index": _command("index", "--gallery", root),
        "index again": _command("index", "--gallery", root),
        "first search": _seconds(lambda: _search(root, query_D, None)),
        "first condition": _seconds(lambda: _search(root, query_D, _WHERE)),
        "delete": _command("delete", "--gallery", root, "--where", "width < 100"),
        "dedup": _command("dedup", "--gallery", root),
        "status --verify": _command("status", "--gallery", root, "--verify"),
        "compact": _command("compact", "--gallery", root, "--output", compacted),
        "compact --merge": _command("compact", "--gallery", root, "--output", merged, "--merge"),
        "first condition after --merge": _seconds(lambda: _search(merged, query_D, _WHERE)),
    }
    shutil.rmtree(compacted)
    shutil.rmtree(merged)
    return seconds


def _search(root: Path, query_D: np.ndarray, where: str | None) -> None:
    Gallery.open(root).search(vector=query_D, where=where)


def _seconds(action: Callable[[], None]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _command(*options: str | Path) -> float:
    command = [sys.executable, "-m", "diantu.scripts.main", *map(str, options)]
    return _seconds(lambda: _checked(command))


def _checked(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"{' '.join(command[3:])} ended with {done.returncode}: {done.stderr or done.stdout}")


if __name__ == "__main__":
    sys.exit(call(run, "python -m diantu.scripts.bench_parts", sys.argv[1:]))

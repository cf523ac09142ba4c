"""What a gallery of very many shards costs before, while and after it is embedded, at two sizes in one run.

    python -m diantu.scripts.bench_shards --output FOLDER [--shards 1000000]

The shards are empty files, because nothing reads them here; the commit records of their parts are as a job writes them,
one in a thousand with failures and one in ten thousand of a shard that could not be read. All that is measured is what
`diantu embed` and `diantu status` do. Ten times as many shards may take ten times as long; what grows faster is printed
as missed.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..datasets import find_shards
from ..datasets.checksums import sealed
from ..datasets.types import Shard
from ..indexing.encoders import EncoderSpec
from ..indexing.store.layout import inventory_path, record_path, remove_temporary_files
from ..indexing.store.ledger import Ledger
from ..indexing.store.manifest import Manifest, open_or_create
from ..indexing.store.records import Part
from ..indexing.store.snapshot import Snapshot
from .main import call

_SPEC = EncoderSpec(name="bench", dim=512, image_size=224, resize="shortest_edge_crop")
_ROWS = 10  # per part
_FAILING, _UNREADABLE = 1_000, 10_000  # one part in so many
_NEW = 10  # shards of a second run that have no part yet
_MOST_GROWTH = 15.0  # of the time, where the number grows tenfold
_SMALL_SECONDS = 0.05  # of which nothing can be said


def run(output: str, shards: int = 1_000_000) -> int:
    """Measures galleries of a tenth of the shards and of all of them.

    Args:
        output: the folder for files of about 5 kB per shard; what is in it already is used again.
        shards: the number of shards.
    """
    few, many = (_measured(Path(output) / str(count), count) for count in (shards // 10, shards))
    print(f"seconds with {shards // 10} and {shards} shards, and the ratio")
    missed = 0
    for what, before in few.items():
        grows = before > _SMALL_SECONDS and many[what] > _MOST_GROWTH * before
        missed += grows
        print(f"{what:44s} {before:8.2f} {many[what]:8.2f} {many[what] / before:6.1f}{'  missed' if grows else ''}")
    return 1 if missed else 0


def _measured(folder: Path, count: int) -> dict[str, float]:
    source, root = folder / "shards", folder / "g"
    if not source.exists():
        _write_shards(source, count)
    seconds: dict[str, float] = {}

    def timed(what: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        seconds[what] = time.perf_counter() - started
        return result

    width = len(str(count - 1))
    timed("finding the shards by a range", lambda: find_shards(f"{source}/{{{0:0{width}d}..{count - 1}}}.tar"))
    found = timed("finding the shards in a folder", lambda: find_shards(str(source)))
    with TemporaryDirectory(dir=folder) as new:
        timed("numbering them", lambda: Ledger(Path(new)).assign(found))
    if not root.exists():
        open_or_create(root, [_SPEC])
        Ledger(root).assign(found)
        _write_records(root, found[:-_NEW])
    inventory_path(root).unlink(missing_ok=True)
    unlisted = Manifest(encoders=(_SPEC,))
    manifest = timed("listing their parts, which nobody has read", lambda: unlisted.with_committed(root))
    unlisted.save(root)
    timed("writing gallery.json", lambda: manifest.save(root))
    timed("the first plan of a further run", lambda: Ledger(root).assign(found))
    left = timed("another one", lambda: Ledger(root).assign(found))
    assert len(left) == _NEW, f"{len(left)} jobs are left instead of {_NEW}"
    timed("looking for what a killed job left", lambda: remove_temporary_files(root))
    timed("what is done, at the end of a run", lambda: Ledger(root).progress())
    timed("diantu status, the command", lambda: _status(root))
    timed("opening the gallery for a search", lambda: Snapshot.read(root))
    return seconds


def _write_shards(source: Path, count: int) -> None:
    source.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (source / f"{number:0{len(str(count - 1))}d}.tar").touch()


def _write_records(root: Path, shards: list[Shard]) -> None:
    """The commit records of all shards but the last ones, written without waiting for the disk."""
    (root / "parts").mkdir(exist_ok=True)
    for number, shard in enumerate(shards):
        is_unreadable = number % _UNREADABLE == 1
        files = {
            f"{name}/{name}_{number:05d}.{ending}": {"bytes": 10_000 + number % 7, "sha256": f"{number:064x}"}
            for name, ending in (("img_emb", "npy"), ("metadata", "parquet"))
        }
        part = Part(
            number=number,
            num_rows=0 if is_unreadable else _ROWS,
            dim=_SPEC.dim,
            dtype="float16",
            encoder_fingerprint=_SPEC.fingerprint,
            shard={"id": shard.id, "uri": shard.uri, "size_bytes": 0},
            num_samples=_ROWS,
            failures={"truncated": 1} if number % _FAILING == 0 else {},
            files=files,
            quarantined=f"{shard.uri} is not a tar that can be read" if is_unreadable else None,
        )
        record_path(root, number).write_bytes(sealed(asdict(part)))


def _status(root: Path) -> None:
    command = [sys.executable, "-m", "diantu.scripts.main", "status", "--gallery", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first = list(itertools.islice(done.stdout.splitlines(), 2))
    assert "left" in first[-1], done.stdout


if __name__ == "__main__":
    sys.exit(call(run, "python -m diantu.scripts.bench_shards", sys.argv[1:]))

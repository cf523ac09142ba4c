"""`duplicates.parquet`: how it is read, when it is replaced, and what is refused."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from planted import at_angles, plant, unit
from zygote import Zygote, wait_until

from diantu.datasets import InputError
from diantu.datasets.files import exclusive
from diantu.indexing.store.duplicates import read_duplicates
from diantu.indexing.store.layout import JOB_LOCK
from diantu.indexing.upkeep.dedup import MAX_HASH_DISTANCE, find_duplicates


def found_in(root: Path) -> dict[int, int]:
    """Every duplicate's row, and the row that represents its group."""
    return {line["row"]: line["duplicate_of"] for line in pq.read_table(root / "duplicates.parquet").to_pylist()}


def test_what_was_found_is_read_by_row(tmp_path: Path) -> None:
    plant(tmp_path, at_angles(0, 50, 1, 100, 51, 2))
    assert read_duplicates(tmp_path) is None
    find_duplicates(tmp_path)
    found = read_duplicates(tmp_path)
    assert found is not None
    assert (len(found), found.num_groups, found.threshold, found.max_hash_distance) == (3, 2, 0.95, MAX_HASH_DISTANCE)
    rows = np.array([5, 0, 1, 2, 3, 4, 1, 7])
    assert found.representatives(rows).tolist() == [0, 0, 1, 0, 3, 1, 1, 7]
    assert found.num_others(rows).tolist() == [2, 2, 1, 2, 0, 1, 1, 0]
    assert found.column(0, 6).to_pylist() == [None, None, 0, None, 1, 0]
    assert found.column(4, 4).to_pylist() == [1, 0, None, None]
    assert found.column(3, 0).to_pylist() == []
    assert [group.tolist() for group in found.largest(10)] == [[0, 2, 5], [1, 4]]


@pytest.mark.parametrize("emb_ND", [np.zeros((0, 2)), at_angles(0), at_angles(0, 90), np.zeros((3, 2))])
def test_a_gallery_without_duplicates_is_known_to_have_none(tmp_path: Path, emb_ND: np.ndarray) -> None:
    plant(tmp_path, emb_ND)
    found = find_duplicates(tmp_path)
    assert (len(found), found.num_groups, found.largest(10)) == (0, 0, [])
    assert found.representatives(np.array([1, 0])).tolist() == [1, 0]
    assert found.num_others(np.array([1, 0])).tolist() == [0, 0]
    assert found.column(0, 2).null_count == 2


def test_rows_added_later_wait_for_the_next_run(tmp_path: Path) -> None:
    plant(tmp_path, at_angles(0, 1))
    first = find_duplicates(tmp_path)
    plant(tmp_path, at_angles(2))
    assert first.num_rows == 2
    find_duplicates(tmp_path)
    assert found_in(tmp_path) == {1: 0, 2: 0}
    assert first.column(0, 3).to_pylist() == [None, 0, None]  # what was opened stays as it was


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    root = plant(tmp_path, unit(rng.standard_normal((500, 4))), num_parts=3)
    find_duplicates(root)
    before = (root / "duplicates.parquet").read_bytes()
    find_duplicates(root)
    assert (root / "duplicates.parquet").read_bytes() == before


def test_killed_at_any_moment_the_file_is_complete(tmp_path: Path, jobs: Zygote) -> None:
    rng = np.random.default_rng(0)
    root = plant(tmp_path, unit(rng.standard_normal((300, 4))))
    path = root / "duplicates.parquet"
    allowed = set()
    for threshold in (0.9, 0.95):
        find_duplicates(root, threshold=threshold)
        allowed.add(path.read_bytes())
    assert len(allowed) == 2
    job = (
        "import pathlib\nfrom diantu.indexing.upkeep.dedup import find_duplicates\n"
        f"root = pathlib.Path({str(root)!r})\n"
        "while True:\n  for threshold in (0.9, 0.95): find_duplicates(root, threshold=threshold)"
    )
    for num_writes in (1, 2, 4):
        running = jobs.start_script(job)
        for _ in range(num_writes):
            before = path.stat().st_mtime_ns
            wait_until(lambda before=before: path.stat().st_mtime_ns != before, "the next write")
        time.sleep(rng.uniform(0, 0.02))  # a random moment, not a wait for something
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
        assert path.read_bytes() in allowed
    find_duplicates(root)
    assert path.read_bytes() in allowed


def test_it_waits_for_no_other_job(tmp_path: Path) -> None:
    plant(tmp_path, at_angles(0, 1))
    with exclusive(tmp_path, JOB_LOCK), pytest.raises(InputError, match="another job"):
        find_duplicates(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no parquet at all"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "duplicates.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"duplicates\.parquet is damaged .* diantu dedup"):
        read_duplicates(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.0}, "threshold is 0;"),
        ({"threshold": 1.0}, "up to 0.999"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"max_hash_distance": -1}, "0 to 64 bits"),
        ({"max_hash_distance": 65}, "0 to 64 bits"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_duplicates(plant(tmp_path, at_angles(0, 1)), **options)
    assert read_duplicates(tmp_path) is None

"""Builds that are killed, damaged files, and readers that opened the index before it changed."""

from __future__ import annotations

import json
import os
import resource
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from galleries import add_rows
from indexes import FACTORY, clustered, exact, faiss_index, opened, share
from zygote import Zygote, wait_until

from diantu.datasets import InputError
from diantu.datasets.checksums import write_checked_json
from diantu.datasets.errors import FileError
from diantu.indexing.build.job import build_index, plan_index
from diantu.indexing.build.request import IndexRequest
from diantu.indexing.index.blocks import Blocks
from diantu.indexing.index.report import IndexReport, index_name, read_report
from diantu.indexing.measure.evaluate import evaluate
from diantu.indexing.store.snapshot import Snapshot

pytestmark = pytest.mark.usefixtures("few_queries")


def test_a_reader_keeps_the_index_that_it_opened(gallery: Path) -> None:
    queries_QD = clustered(9, 40)
    before = opened(gallery)
    found = before.search(queries_QD, 10, kind="image")[1]
    add_rows(gallery, queries_QD)
    build_index(gallery, None, request=IndexRequest(factory="IVF16,SQ8"))
    np.testing.assert_array_equal(before.search(queries_QD, 10, kind="image")[1], found)
    assert (opened(gallery).search(queries_QD, 1, effort="exact")[1][:, 0] >= 6000).all()


def test_a_reader_that_has_not_searched_yet_keeps_its_index_too(gallery: Path) -> None:
    queries_QD = clustered(9, 40)
    found = opened(gallery).search(queries_QD, 10, kind="image")[1]
    before = opened(gallery)
    add_rows(gallery, queries_QD)
    build_index(gallery, None, request=IndexRequest(factory="IVF16,SQ8"))
    np.testing.assert_array_equal(before.search(queries_QD, 10, kind="image")[1], found)


def test_an_index_that_does_not_fit_its_report_does_not_count(gallery: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As after a kill between the two renames."""
    queries_QD = clustered(9, 5)
    paths = (gallery / "index" / "hf_x" / "index.json", gallery / "checksums.json")
    old = [path.read_bytes() for path in paths]
    build_index(gallery, None, request=IndexRequest(factory="IVF16,SQ8"))
    for path, data in zip(paths, old, strict=True):
        path.write_bytes(data)
    index = opened(gallery)
    assert "every row is compared" in caplog.text
    assert share(index.search(queries_QD, 10)[1], exact(gallery, queries_QD, 10)) == 1.0
    report = build_index(gallery, None)  # the file is not the one of the report, so it is not reused
    assert (report.num_rows, report.spec.factory) == (6000, FACTORY)
    assert faiss_index(gallery).nlist == 64


def test_new_rows_are_folded_in_after_a_kill_between_the_two_renames(
    gallery: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = gallery / "index" / "hf_x"
    add_rows(gallery, clustered(9, 40))
    old = (folder / "index.json").read_bytes()
    whole = build_index(gallery, None)
    (folder / "index.json").replace(folder / "index.json.tmp")
    (folder / "index.json").write_bytes(old)
    report = build_index(gallery, None)
    assert (report.num_rows, report.training) == (whole.num_rows, whole.training)
    assert report.reason == "no row is new"
    assert "from scratch" not in caplog.text


def test_an_index_that_cannot_be_written_leaves_the_old_one(gallery: Path) -> None:
    folder = gallery / "index" / "hf_x"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        with pytest.raises(FileError, match=r"index\.faiss cannot be written \(File too large\); "):
            build_index(gallery, None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_truncated_index_does_not_count(gallery: Path, caplog: pytest.LogCaptureFixture) -> None:
    queries_QD = clustered(9, 5)
    path = gallery / "index" / "hf_x" / "index.faiss"
    path.write_bytes(path.read_bytes()[:-1])
    assert share(opened(gallery).search(queries_QD, 10)[1], exact(gallery, queries_QD, 10)) == 1.0
    assert "every row is compared" in caplog.text
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"index\.faiss is missing or damaged; build the index again"):
        opened(gallery)


def test_damage_inside_an_index_is_reported_by_the_first_search_and_repaired_by_the_next_build(
    gallery: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Opening reads only the first bytes of a file, and those are intact here."""
    path = gallery / "index" / "hf_x" / "index.faiss"
    data = path.read_bytes()
    report = read_report(Snapshot.read(gallery))
    assert report
    # As if the first megabyte were intact.
    write_checked_json(gallery, f"{index_name('hf_x')}/index.json", replace(report, head_sha256=None).to_json())
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    index = opened(gallery)
    assert share(index.search(clustered(9, 5), 10, effort="exact")[1], exact(gallery, clustered(9, 5), 10)) == 1.0
    for _ in range(2):  # nothing half-read is kept
        with pytest.raises(InputError, match=r"index\.faiss is missing or damaged; build the index again"):
            index.search(clustered(9, 5), 10)
    assert plan_index(gallery, IndexRequest()).reason == "no row is new"
    report = build_index(gallery, None)
    assert "it is built from scratch" in caplog.text
    assert report.delivers["image"].recall[10] > 0.9
    assert opened(gallery).search(clustered(9, 5), 10)[1].shape == (5, 10)


def _with_blocks(gallery: Path, size: int | None) -> IndexReport:
    """Gives the index checksums of smaller blocks, or those of an earlier release: of the whole file alone."""
    report = read_report(Snapshot.read(gallery))
    assert report
    with (gallery / "index" / "hf_x" / "index.faiss").open("rb") as file:
        report = replace(report, blocks=Blocks.of_open(file, size=size) if size else None, head_sha256=None)
    write_checked_json(gallery, f"{index_name('hf_x')}/index.json", report.to_json())
    return report


@pytest.mark.parametrize("size", [1 << 12, 1 << 22, None])
@pytest.mark.parametrize("factory", [FACTORY, "IVF64,SQ8"])
def test_a_damaged_byte_anywhere_is_refused(gallery: Path, factory: str, size: int | None) -> None:
    """Whether FAISS copies the codes or maps them; among the bytes are sizes that would have it take all memory."""
    build_index(gallery, None, request=IndexRequest(factory=factory))
    report = _with_blocks(gallery, size)
    path = gallery / "index" / "hf_x" / "index.faiss"
    found = opened(gallery).search(clustered(9, 5), 10)[1]
    rng = np.random.default_rng(0)
    positions = {*range(16, 200, 8), report.num_bytes - 1, *rng.integers(16, report.num_bytes, 20).tolist()}
    with path.open("r+b") as file:
        for position in sorted(positions):
            (value,) = os.pread(file.fileno(), 1, position)
            os.pwrite(file.fileno(), bytes([value ^ 0x80]), position)
            with pytest.raises(InputError, match=r"index\.faiss is missing or damaged; build the index again"):
                opened(gallery).search(clustered(9, 5), 10)
            os.pwrite(file.fileno(), bytes([value]), position)
    np.testing.assert_array_equal(opened(gallery).search(clustered(9, 5), 10)[1], found)


@pytest.mark.parametrize("factory", [FACTORY, "IVF64,SQ8", "Flat"])
def test_an_index_of_an_earlier_release_answers_and_grows(gallery: Path, factory: str) -> None:
    """Its `index.json` has no checksums of blocks."""
    queries_QD = clustered(9, 40)
    new = build_index(gallery, None, request=IndexRequest(factory=factory))
    assert new.blocks is not None
    found = opened(gallery).search(queries_QD, 10, kind="image")
    _with_blocks(gallery, None)
    assert "blocks" not in json.loads((gallery / "index" / "hf_x" / "index.json").read_text())
    np.testing.assert_array_equal(opened(gallery).search(queries_QD, 10, kind="image"), found)
    add_rows(gallery, queries_QD)
    grown = build_index(gallery, None)
    assert (grown.num_rows, grown.training.rows) == (6040, new.training.rows)
    assert grown.blocks is not None


@pytest.mark.slow
def test_a_killed_build_leaves_the_index_that_was_there(gallery: Path, jobs: Zygote) -> None:
    folder = gallery / "index" / "hf_x"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for stage in ("sampling", "training", "adding"):
        job = jobs.start("index", "--gallery", gallery, "--factory", "IVF128,PQ16x4fsr")
        wait_until(lambda job=job, stage=stage: stage in job.stderr() or job.poll() is not None, stage)
        job.send_signal(signal.SIGKILL)
        assert job.wait() == -signal.SIGKILL, job.stderr()
        assert {name: (folder / name).read_bytes() for name in before} == before
        assert opened(gallery).num_indexed == 6000
    assert build_index(gallery, None, request=IndexRequest(factory="IVF128,PQ16x4fsr")).num_rows == 6000
    assert sorted(path.name for path in folder.iterdir()) == ["index.faiss", "index.json"]


def test_a_report_of_an_earlier_release_is_replaced(gallery: Path) -> None:
    path = gallery / "index" / "hf_x" / "index.json"
    report = json.loads(path.read_text())
    for name in ("request", "training", "tuning", "bytes_per_row", "target_recall"):
        del report[name]
    path.write_text(json.dumps({**report, "version": 1}))
    (gallery / "checksums.json").unlink()
    assert evaluate(gallery)["delivers"]["image"]["recall@10"] == 1.0  # every row is compared
    assert plan_index(gallery, IndexRequest()).spec.factory == "Flat"
    assert build_index(gallery, None).version == 2


def test_a_damaged_report_is_replaced(gallery: Path) -> None:
    (gallery / "index" / "hf_x" / "index.json").write_text("{")
    assert plan_index(gallery, IndexRequest()).spec.factory == "Flat"
    assert build_index(gallery, None).num_rows == 6000

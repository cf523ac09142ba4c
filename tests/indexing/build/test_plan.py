"""What is chosen for some rows and some memory, and whether the estimates hold against real indexes."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diantu.datasets import InputError
from diantu.indexing.build.plan import IndexSpec, num_lists, parse_bytes, plan, readable


@pytest.mark.parametrize("num_rows", [0, 1, 500, 99_999, 100_000])
def test_small_galleries_are_searched_exactly(num_rows: int) -> None:
    assert plan(num_rows, 512).spec == IndexSpec(factory="Flat")


def test_the_budget_decides_the_size_of_codes() -> None:
    chosen = [plan(1_000_000, 512, memory_budget=parse_bytes(budget)) for budget in ("2GB", "100MB", "60MB")]
    assert [option.spec.factory.rpartition(",")[2] for option in chosen] == ["PQ256x4fsr", "PQ128x4fsr", "PQ64x4fsr"]
    for option, budget in zip(chosen, (2e9, 1e8, 6e7), strict=True):
        assert option.ram_bytes <= budget
    with pytest.raises(InputError, match=r"1000000 rows .* need at least .* MB .* the memory budget is 10.0 MB"):
        plan(1_000_000, 512, memory_budget=10**7)


def test_the_default_for_a_million_rows_keeps_the_promise_of_160_bytes_a_row() -> None:
    assert plan(1_000_000, 512).ram_bytes <= 160e6


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2_000_000_000), st.sampled_from([1, 2, 3, 50, 384, 511, 512, 768, 1024]))
def test_every_size_gets_an_index_that_faiss_can_make(num_rows: int, dim: int) -> None:
    chosen = plan(num_rows, dim)
    index = faiss.index_factory(dim, chosen.spec.factory.replace("_HNSW32", ""), faiss.METRIC_INNER_PRODUCT)
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    assert chosen.spec.train_rows <= num_rows
    assert num_lists(num_rows) <= max(num_rows, 2) or chosen.spec.factory == "Flat"


@pytest.mark.parametrize("factory", ["Flat", "IVF64,PQ16x4fsr", "IVF256(PQ32x4fs,Refine(SQ8)),PQ32x4fsr", "IVF64,SQ8"])
def test_estimates_of_memory_are_close(tmp_path: Path, factory: str) -> None:
    emb_ND = np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32)
    index = faiss.index_factory(64, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(emb_ND)
    index.add(emb_ND)
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    size = (tmp_path / "index.faiss").stat().st_size
    assert plan(20_000, 64, factory=factory).ram_bytes == pytest.approx(size, rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factory": "IVF16,PQ8,RFlat"}, "ends in a refinement"),
        ({"factory": "IVF5000,Flat"}, "more lists than the gallery has rows"),
        ({"factory": "IVF16,Flat", "memory_budget": 1000}, "the budget is 1.0 kB"),
    ],
)
def test_factories_that_cannot_be_used_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(1000, 64, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "num_bytes"), [("2GB", 2e9), ("500MB", 5e8), ("1.5 g", 1.5e9), ("7", 7), ("8 kb", 8000), ("1T", 1e12)]
)
def test_sizes_are_read(text: str, num_bytes: float) -> None:
    assert parse_bytes(text) == num_bytes


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "2 giga", "1e9", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a size"):
        parse_bytes(text)


def test_bytes_are_readable() -> None:
    assert [readable(n) for n in (0, 999, 1500, 2e9, 3e12)] == ["0 B", "999 B", "1.5 kB", "2.0 GB", "3.0 TB"]

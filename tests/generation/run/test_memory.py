"""Batches that do not fit into memory are halved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from run_folders import manifest_of, pictures_of, statuses
from tinting import Tint, requests_of

from diantu.generation import Draft, Made, RunOptions, generate


def test_out_of_memory_halves_the_batch_in_the_same_way_each_time(shop: Path, tmp_path: Path) -> None:
    asked, options = [requests_of(shop, 2)[1]] * 14, RunOptions(batch_size=7)
    small = Tint(most=2)
    results = generate(asked, tmp_path / "run", small, options=options)
    assert set(statuses(results).values()) == {"done"}
    sizes = [len(batch) for batch in small.batches]
    # 7 → 4 and 3, 4 → 2 and 2, 3 → 2 and 1; a size that was too large is not tried again.
    assert sizes == [7, 4, 2, 2, 3, 2, 1, 2, 2, 2, 1]
    assert [row["batch_size"] for row in manifest_of(tmp_path / "run")] == [2, 2, 2, 2, 2, 2, 1] * 2
    before = pictures_of(tmp_path / "run")
    (tmp_path / "run/pictures/0014-1.png").unlink()  # it was alone in its batch, although memory held two
    generate(asked, tmp_path / "run", Tint(most=2), options=options)
    assert pictures_of(tmp_path / "run") == before


def test_a_batch_that_is_too_large_for_one_size_does_not_affect_other_sizes(shop: Path, tmp_path: Path) -> None:
    class LargeOnes(Tint):
        def make(self, drafts: Sequence[Draft]) -> list[Made]:
            self.most = 1 if drafts[0].references[0].width == 36 else 1000
            return Tint.make(self, drafts)

    strategy = LargeOnes()
    generate(requests_of(shop, 14), tmp_path, strategy, options=RunOptions(batch_size=4))
    assert sorted(map(len, strategy.batches)) == [1] * 6 + [2, 4, 4, 4]  # the 36 × 48: 4 → 2, 2; 2 are known


def test_out_of_memory_in_torch_for_a_single_picture_is_a_failure(shop: Path, tmp_path: Path) -> None:
    import torch

    class Full(Tint):
        def make(self, drafts: Sequence[Draft]) -> list[Made]:
            if any(draft.name == "0002-1" for draft in drafts):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return Tint.make(self, drafts)

    results = generate([requests_of(shop, 1)[0]] * 4, tmp_path, Full())
    assert statuses(results) == {"0001-1": "done", "0002-1": "failed", "0003-1": "done", "0004-1": "done"}
    assert results[1].reason == "out of memory (CUDA out of memory)"


def test_an_exception_of_a_strategy_fails_its_picture_only(shop: Path, tmp_path: Path) -> None:
    class Picky(Tint):
        def make(self, drafts: Sequence[Draft]) -> list[Made]:
            if any(draft.name == "0003-1" for draft in drafts):
                raise ZeroDivisionError("no width\nand more")
            return Tint.make(self, drafts)

    results = generate([requests_of(shop, 1)[0]] * 4, tmp_path, Picky())
    assert statuses(results) == {"0001-1": "done", "0002-1": "done", "0003-1": "failed", "0004-1": "done"}
    assert results[2].reason == "tint failed with ZeroDivisionError: no width"

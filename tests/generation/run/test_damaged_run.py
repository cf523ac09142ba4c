"""Damage of every kind, in every file of a run: it is noticed, and another job heals it or refuses in one sentence.

DIANTU_FUZZ_ROUNDS=1000 pytest -n 0 tests/generation/run/test_damaged_run.py
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from damaging import Contents, History, contents_of, random_damage, restore
from fuzzing import rounds
from run_folders import pictures_of
from tinting import Tint, requests_of

from diantu.datasets import InputError
from diantu.generation import generate
from diantu.generation.run.journal import Journal
from diantu.generation.run.verify import accept_run, describe_run, verify_run

NUM_PICTURES = 3


def make_run(root: Path, pictures: Path, strength: float) -> History:
    """A run in two jobs: the first leaves a picture that failed."""
    history = History(root)
    for broken in (("0002-1",), ()):
        generate(requests_of(pictures, NUM_PICTURES), root, Tint(strength=strength, broken=broken))
        history.record()
    return history


@pytest.fixture(scope="module")
def made(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, History, Contents]:
    """A run, the versions of its files, and the files of another run."""
    folder = tmp_path_factory.mktemp("damage")
    history = make_run(folder / "run", shop, 0.5)
    make_run(folder / "other", shop, 0.6)
    return folder / "run", history, contents_of(folder / "other")


@pytest.fixture
def run(made: tuple[Path, History, Contents]) -> Iterator[Path]:
    """The run, which is whole again afterwards."""
    whole = contents_of(made[0])
    yield made[0]
    restore(made[0], whole)


def generated_again(run: Path, pictures: Path) -> str:
    """Runs the same job again; returns the sentence if it is refused."""
    try:
        generate(requests_of(pictures, NUM_PICTURES), run, Tint())
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.fuzz
def test_every_damage_of_a_run_is_noticed(made: tuple[Path, History, Contents], run: Path, shop: Path) -> None:
    _, history, other = made
    whole, right, rng = contents_of(run), pictures_of(run), random.Random(0)
    assert verify_run(run).sentences == verify_run(run).unchecked == ()
    num_healed = 0
    for number in range(rounds(24)):
        damage = random_damage(whole, history, other, rng)
        damage.apply(run)
        problems = verify_run(run).sentences
        assert problems, (damage.name, damage.kind)
        assert not any("\n" in sentence for sentence in problems)
        if number % 4 == 0:
            refusal = generated_again(run, shop)
            if refusal:
                assert "\n" not in refusal
                assert "damaged" in refusal or damage.name == "run.json", (damage.name, damage.kind, refusal)
            else:
                assert pictures_of(run) == right, (damage.name, damage.kind)
                # A job does not vouch for files that it finds: what has lost its checksums is still reported.
                assert damage.name == "checksums.json" or not verify_run(run).sentences, (damage.name, damage.kind)
                num_healed += 1
        restore(run, whole)
    assert num_healed


def test_an_unfinished_run_is_not_damaged(run: Path, shop: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    manifest = copy / "manifest.jsonl"
    (copy / "checksums.json").unlink()
    assert [sentence.partition(";")[0] for sentence in verify_run(copy).sentences] == ["checksums.json is missing"]
    accept_run(copy)
    assert verify_run(copy).sentences == ()
    journal = Journal(copy)
    row = next(iter(journal.rows.values()))
    journal.append({**row, "seconds": 0.25})  # a job has appended a row since
    journal.close()
    assert verify_run(copy).sentences == ()
    assert describe_run(copy, failures=True) == {
        "running": False, "pictures": NUM_PICTURES, "by_status": {"done": 3}, "left": 0, "failures": [],
    }  # fmt: skip
    with manifest.open("ab") as file:
        file.write(b'{"name": "0001-1", "status": "done", "checksum": "0000000000000000"}\n')
    assert verify_run(copy).sentences == ("manifest.jsonl has 1 damaged lines; run the same diantu generate again",)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    for ask in (describe_run, verify_run, accept_run):
        with pytest.raises(InputError, match=r"there is no run at .*; make one with: diantu generate"):
            ask(tmp_path)

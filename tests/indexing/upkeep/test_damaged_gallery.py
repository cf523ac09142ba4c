"""Damage of every kind, in every file of a gallery: it is noticed, and no search crashes or finds something else.

DIANTU_FUZZ_ROUNDS=1000 pytest -n 0 tests/indexing/upkeep/test_damaged_gallery.py
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from damaging import Contents, Damage, History, contents_of, random_damage, restore
from fuzzing import rounds
from galleries import FURTHER, SPEC, keyed, unit, write_gallery

from diantu.datasets import InputError, Shard
from diantu.indexing.build.job import build_index
from diantu.indexing.index.report import IndexRequest
from diantu.indexing.store.layout import space_root
from diantu.indexing.store.ledger import Ledger
from diantu.indexing.store.manifest import read_manifest
from diantu.indexing.store.parts import write_part, write_space_part
from diantu.indexing.store.verify import verify_gallery
from diantu.indexing.upkeep.compaction import compact
from diantu.indexing.upkeep.dedup import find_duplicates
from diantu.indexing.upkeep.deletion import delete
from diantu.search import Gallery

QUERY = unit(99, 1)[0]


def add_part(root: Path, number: int, seed: int) -> None:
    """Adds a part of six rows in both spaces."""
    shard = Shard(uri=f"/{number}.tar", format="webdataset", size_bytes=number)
    emb_ND, further_ND, texts_ND = (unit(seed + i, 6) for i in range(3))
    further = space_root(root, FURTHER.slug)
    write_space_part(further, number, shard, fingerprint=FURTHER.fingerprint, emb_ND=further_ND)
    records = [{"key": f"{number}-{row}", "number": 10 * number + row} for row in range(6)]
    Ledger(root).assign([shard])
    write_part(root, number, shard, fingerprint=SPEC.fingerprint, emb_ND=emb_ND, records=records, text_emb_ND=texts_ND)
    read_manifest(root).with_committed(root).save(root)


def make_gallery(root: Path, seed: int) -> History:
    """A gallery with captions, a further space, deletions, near-duplicates and an index, each written twice."""
    history = History(root)
    first = write_gallery(root.with_name(f"{root.name}-before"), keyed(12 + seed, 9), texts=True)
    delete(first, keys=["0-1"])
    compact(first, root)
    for number, factory in ((2, "IVF2,SQ8"), (3, "IVF4,SQ8")):
        add_part(root, number, 10 * number + seed)
        delete(root, keys=[f"1-{number}"])
        find_duplicates(root, threshold=0.5 + 0.05 * number)
        build_index(root, None, request=IndexRequest(factory=factory))
        history.record()
    return history


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, History, Contents]:
    """A gallery, the versions of its files, and the files of another gallery."""
    folder = tmp_path_factory.mktemp("damage")
    history = make_gallery(folder / "g", 0)
    make_gallery(folder / "other", 1)
    assert verify_gallery(folder / "g").sentences == ()
    return folder / "g", history, contents_of(folder / "other")


@pytest.fixture
def gallery(made: tuple[Path, History, Contents]) -> Iterator[Path]:
    """The gallery, which is whole again afterwards."""
    whole = contents_of(made[0])
    yield made[0]
    restore(made[0], whole)


def answers(root: Path) -> list[list[dict[str, Any]]]:
    """What searches of all kinds find."""
    opened = Gallery.open(root)
    options: list[dict[str, Any]] = [
        {}, {"effort": "exact"}, {"where": "number < 15"}, {"fold_duplicates": True}, {"space": FURTHER.name},
    ]  # fmt: skip
    found = [opened.search(vector=QUERY, k=6, **more) for more in options]
    return [[{"score": round(hit.score, 4), **hit.metadata} for hit in hits] for hits in found]


def told(damage: Damage, error: Exception) -> None:
    """A refusal is one sentence that says what to do."""
    assert "\n" not in str(error), damage
    assert ";" in str(error), damage
    assert any(word in str(error) for word in ("diantu", "restore", "install")), (damage, error)


@pytest.mark.fuzz
def test_every_damage_of_a_gallery_is_noticed(
    made: tuple[Path, History, Contents], gallery: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, history, other = made
    whole, right, rng = contents_of(gallery), answers(gallery), random.Random(0)
    for _ in range(rounds(25)):
        damage = random_damage(whole, history, other, rng)
        damage.apply(gallery)
        try:
            problems = verify_gallery(gallery).sentences
        except InputError as error:
            problems = (str(error),)
        assert problems, (damage.name, damage.kind)
        for sentence in problems:
            assert "\n" not in sentence
        try:
            assert answers(gallery) == right, (damage.name, damage.kind)
        except InputError as error:
            told(damage, error)
        restore(gallery, whole)
    caplog.clear()

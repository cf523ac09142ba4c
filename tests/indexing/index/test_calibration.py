"""Zscores say the same for every picture: what is in the gallery is told from what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diantu.datasets import photos
from diantu.indexing.index.calibration import Calibration
from diantu.scripts.bench_zscores import LANGUAGES, measure, roc_auc
from diantu.search import Gallery


@pytest.fixture(scope="module")
def gallery(demo: Path) -> Gallery:
    return Gallery.open(demo / "gallery")


def test_the_nouns_are_what_is_claimed_of_them() -> None:
    nouns = photos.nouns()
    assert len(nouns) >= 60
    assert 2 * sum(noun["present"] for noun in nouns) == len(nouns)
    for language in LANGUAGES:
        assert len({noun[f"noun_{language}"] for noun in nouns}) == len(nouns)


def test_present_nouns_are_told_from_absent_ones_better_than_by_score(gallery: Gallery) -> None:
    facts = measure(gallery)
    for language in (*LANGUAGES, "both"):
        assert facts[language]["zscore"] > facts[language]["score"] > 0.8


def test_random_pairs_have_zscores_around_zero(gallery: Gallery) -> None:
    """Captions with all pictures but their own: mean 0 and standard deviation 1, whichever picture it is."""
    rows = list(photos.rows().values())[::4]
    together = gallery.search_many([row["caption_en"] for row in rows], k=len(gallery))
    zscores = np.array([[hit.zscore for hit in sorted(hits, key=lambda hit: hit.row)] for hits in together], float)
    assert abs(zscores.mean()) < 0.1
    assert 0.85 < zscores.std() < 1.15
    scores = np.array([[hit.score for hit in sorted(hits, key=lambda hit: hit.row)] for hits in together])
    spread_of_pictures = zscores.mean(axis=0).std() / zscores.std()
    assert spread_of_pictures < 0.5 * scores.mean(axis=0).std() / scores.std()  # no picture answers everything


def test_a_threshold_on_zscores_says_that_there_is_no_match(gallery: Gallery) -> None:
    assert gallery.search("大熊猫", k=1, min_zscore=4)[0].key == "animal_panda"
    assert len(gallery.search("washing machine", min_zscore=6)) == 0
    above = gallery.search("一座城堡", k=184, min_zscore=1.5)
    assert 0 < len(above) < 184
    assert min(hit.zscore for hit in above if hit.zscore is not None) >= 1.5
    every = gallery.search("一座城堡", k=184)
    assert [hit.row for hit in above] == [hit.row for hit in every if (hit.zscore or 0) >= 1.5]


def test_the_area_under_the_curve() -> None:
    values = np.array([0.1, 0.4, 0.4, 0.9])
    assert roc_auc(values, np.array([False, False, True, True])) == 0.875
    assert roc_auc(values, np.array([True, False, False, False])) == 0.0


def test_indexes_of_an_earlier_release_give_zscores_too() -> None:
    calibration = Calibration.from_json({"mean": 0.2, "std": 0.1})
    found = calibration.zscores(np.array([0.4], np.float32), np.ones((1, 2), np.float32))
    assert found == pytest.approx([2.0])
    assert calibration.is_usable
    assert not Calibration.from_json({"mean": 0.2, "std": 0.0}).is_usable

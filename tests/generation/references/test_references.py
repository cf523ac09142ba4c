"""References from a gallery with rows at known angles: a query `40` scores cos(40° − angle) with each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from angles import Angles, gallery_at, open_gallery
from pictures import encoded, picture
from planted import plant

from diantu.datasets import InputError
from diantu.generation import GenerationRequest, RunOptions
from diantu.generation.references.choose import Choice, choose, find_candidates
from diantu.indexing.build.job import build_index
from diantu.indexing.store.snapshot import gallery_version
from diantu.indexing.upkeep.dedup import find_duplicates
from diantu.indexing.upkeep.deletion import delete
from diantu.search import Gallery


def request(prompt: str = "0", **fields: object) -> GenerationRequest:
    return GenerationRequest(prompt=prompt, **fields)


def chosen(
    gallery: Gallery | None,
    requests: Sequence[GenerationRequest],
    *,
    k: int = 1,
    rotate: float = 0.0,
    max_punsafe: float | None = 0.5,
) -> list[Choice]:
    ks = [k] * len(requests)
    candidates = find_candidates(gallery, requests, ks, max_punsafe=max_punsafe)
    return choose(candidates, ks, rotate=rotate, unfit=lambda size: "")


def rows(choices: Sequence[Choice]) -> list[list[int | None]]:
    return [[reference.row for reference in choice.references] for choice in choices]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """A gallery with a row at every 10° from 0 to 110."""
    degrees = [10.0 * i for i in range(12)]
    credits = {"license": "CC0-1.0", "Author": "A. B.", "url": "https://example.org/a.jpg"}
    records = [{**credits, "number": i} for i in range(12)]
    return gallery_at(tmp_path_factory.mktemp("angles"), degrees, records)


def test_a_reference_has_score_credits_and_size(gallery: Gallery) -> None:
    (choice,) = chosen(gallery, [request("41")])
    (reference,) = choice.references
    assert reference.row == 4
    assert reference.score == pytest.approx(np.cos(np.radians(1)), abs=1e-3)
    assert (reference.licence, reference.author, reference.source) == ("CC0-1.0", "A. B.", "https://example.org/a.jpg")
    assert reference.size == reference.image().size == (40, 30)
    assert not [value for value in reference.credits().values() if str(gallery.path.parent) in str(value)]


def test_conditions_have_a_budget(gallery: Gallery) -> None:
    asked = [request("41", where="key = '4'")]
    (found,) = find_candidates(gallery, asked, [1], max_punsafe=None, where_timeout=60)
    assert [reference.row for reference in found.found] == [4]
    with pytest.raises(InputError, match="the where timeout is 0; give seconds"):
        find_candidates(gallery, asked, [1], max_punsafe=None, where_timeout=0)
    with pytest.raises(InputError, match="the where timeout is -1"):
        RunOptions(where_timeout=-1)
    assert RunOptions(where_timeout=60).to_json() == RunOptions().to_json()  # a run goes on with another one


def test_rotation_uses_several_references_within_its_limit(gallery: Gallery) -> None:
    same = [request("40")] * 30
    assert set(map(tuple, rows(chosen(gallery, same)))) == {(4,)}
    rotated = [row for (row,) in rows(chosen(gallery, same, rotate=0.1))]
    # cos(20°) = 0.94 is less than a tenth below cos(0°); cos(30°) = 0.87 is not.
    assert set(rotated) == {2, 3, 4, 5, 6}
    assert set(Counter(rotated).values()) == {6}
    assert rotated[0] == 4
    assert rotated == [row for (row,) in rows(chosen(gallery, same, rotate=0.1))]


def test_rotation_prefers_references_that_other_prompts_have_not_used(gallery: Gallery) -> None:
    assert rows(chosen(gallery, [request("40"), request("41")], rotate=0.1)) == [[4], [5]]


def test_the_references_of_a_picture_differ(gallery: Gallery) -> None:
    found = rows(chosen(gallery, [request("40"), request("40")], k=3, rotate=0.05))
    assert found[0] == [4, 3, 5] or found[0] == [4, 5, 3]
    assert all(len(set(picks)) == 3 for picks in found)
    assert rows(chosen(gallery, [request("0")], k=20)) == [[*range(12)]]


def test_limits_and_conditions_and_their_reasons(gallery: Gallery) -> None:
    none, some, strict = chosen(
        gallery,
        [request("-60", min_score=0.9), request("-60"), request("0", where="number > 100")],
    )
    assert not none.references
    assert "key 0" not in none.reason
    assert "nearest row, 0, scores 0.500" in none.reason
    assert "min_score 0.9" in none.reason
    assert some.references[0].row == 0
    assert strict.reason == "no row of the gallery meets number > 100"
    assert rows(chosen(gallery, [request("0", where="number >= 3")])) == [[3]]


def test_min_zscore_needs_a_gallery_with_zscores(gallery: Gallery, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="zscores"):
        chosen(gallery, [request("0", min_zscore=1)])
    measured = gallery_at(tmp_path, [3.0 * i for i in range(120)])
    build_index(measured.path, Angles(measured.spec))
    good, none = chosen(open_gallery(measured.path), [request("0", min_zscore=1), request("0", min_zscore=9)])
    assert good.references[0].row == 0
    assert "(z +" in none.reason
    assert "below min_zscore 9" in none.reason


def test_several_queries_are_one_search(gallery: Gallery) -> None:
    assert rows(chosen(gallery, [request("0", queries=("0", "80"))])) == [[4]]


def test_unsafe_rows_are_never_references(tmp_path: Path) -> None:
    unsafe = [0.9, float("nan"), None, 0.5, 0.51]
    records = [{"number": i, **({} if value is None else {"NSFW": value})} for i, value in enumerate(unsafe)]
    gallery = gallery_at(tmp_path, [0, 1, 2, 3, 4], records)
    assert rows(chosen(gallery, [request("0")], k=5)) == [[1, 2, 3]]
    assert rows(chosen(gallery, [request("0", where="number < 9 -- all")], k=5)) == [[1, 2, 3]]
    assert rows(chosen(gallery, [request("0")], k=5, max_punsafe=None)) == [[0, 1, 2, 3, 4]]
    with pytest.raises(InputError, match="not understood"):
        chosen(gallery, [request("0", where="number < 9) OR (true")])


def test_known_near_duplicates_count_as_one_candidate(tmp_path: Path) -> None:
    emb_ND = np.repeat(np.eye(4, 8, dtype=np.float32), 3, axis=0)
    paths = [tmp_path / f"{i}.jpg" for i in range(12)]
    for path in paths:
        path.write_bytes(encoded(picture(0)))
    places = [{"shard": None, "offset": None, "length": None, "image_path": str(path)} for path in paths]
    root = plant(tmp_path / "gallery", emb_ND, places)
    find_duplicates(root, threshold=0.99)

    class First(Angles):
        def encode_texts(self, texts: list[str]) -> np.ndarray:
            return np.tile(np.array([4, 3, 2, 1, 0, 0, 0, 0], np.float32) / np.sqrt(30), (len(texts), 1))

    gallery = Gallery.open(root, encoder=First(open_gallery(root).spec))
    (found,) = rows(chosen(gallery, [request("x")], k=12))
    assert [row // 3 for row in found if row is not None] == [0, 1, 2, 3]


def test_given_rows_and_files_are_taken_unchanged(gallery: Gallery, tmp_path: Path) -> None:
    file = tmp_path / "mine.png"
    file.write_bytes(encoded(picture(5, (20, 20)), "PNG"))
    (choice,) = chosen(gallery, [request("0", rows=[7, 3], files=[str(file)])])
    assert [reference.key for reference in choice.references] == ["7", "3", "mine.png"]
    assert [reference.score for reference in choice.references] == [None] * 3
    (alone,) = chosen(None, [request("0", files=[str(file)])])
    assert alone.references[0].size == (20, 20)


def test_rows_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    gallery = gallery_at(tmp_path, [0, 10])
    with pytest.raises(InputError, match="row 2 is not one of the gallery's rows, which are 0 to 1"):
        chosen(gallery, [request("0", rows=[2])])
    delete(gallery.path, keys=["1"])
    assert gallery.refresh()
    with pytest.raises(InputError, match="row 1 was deleted"):
        chosen(gallery, [request("0", rows=[1])])
    with pytest.raises(InputError, match="no gallery"):
        chosen(None, [request("0")])


def test_a_candidate_without_pixels_is_replaced_by_the_next_best(tmp_path: Path) -> None:
    gallery = gallery_at(tmp_path, [0, 10, 20])
    (tmp_path / "0.jpg").unlink()
    (tmp_path / "1.jpg").write_bytes(b"no picture")
    assert rows(chosen(gallery, [request("0"), request("0")])) == [[2], [2]]
    (tmp_path / "2.jpg").unlink()
    (gone,) = chosen(gallery, [request("0")])
    assert "none of the 3 references found can be used: " in gone.reason
    (named,) = chosen(gallery, [request("0", rows=[1])])
    assert "cannot be read as an image" in named.reason


def test_a_reference_that_has_changed_is_refused(tmp_path: Path) -> None:
    gallery = gallery_at(tmp_path, [0])
    (choice,) = chosen(gallery, [request("0")])
    (tmp_path / "0.jpg").write_bytes(encoded(picture(9)))
    with pytest.raises(FileNotFoundError, match="has changed"):
        choice.references[0].image()


def test_the_version_of_a_gallery_changes_with_its_rows_and_deletions(tmp_path: Path) -> None:
    gallery = gallery_at(tmp_path, [0, 10])
    first = gallery_version(gallery.path)
    assert first == gallery_version(gallery.path)
    delete(gallery.path, keys=["1"])
    second = gallery_version(gallery.path)
    plant(gallery.path, np.eye(1, 2, dtype=np.float32), [{}])
    assert len({first, second, gallery_version(gallery.path)}) == 3

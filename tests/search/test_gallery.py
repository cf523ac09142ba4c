"""Search over the demo's gallery: real photographs, real questions, in both languages."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pictures import picture
from PIL import Image

from diantu.datasets import InputError, photos
from diantu.indexing.encoders import load_encoder
from diantu.search import Gallery, Hits, Query


@pytest.fixture(scope="module")
def gallery(demo: Path) -> Gallery:
    return Gallery.open(demo / "gallery")


def keys(hits: Hits) -> list[str]:
    return [hit.key for hit in hits]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("大熊猫", "animal_panda"),
        ("a giant panda", "animal_panda"),
        ("考拉", "animal_koala"),
        ("koala", "animal_koala"),
    ],
)
def test_texts_in_both_languages_find_the_picture(gallery: Gallery, text: str, first: str) -> None:
    hits = gallery.search(text, k=5)
    assert keys(hits)[0] == first
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert hits[0].metadata["caption_zh"] == photos.rows()[f"{first}.jpg"]["caption_zh"]


def test_a_picture_finds_itself_in_every_form(gallery: Gallery) -> None:
    path = photos.FOLDER / "animal_cat.jpg"
    image = Image.open(path)
    for form in (path, str(path), path.read_bytes(), image, np.asarray(image.convert("RGB"))):
        hits = gallery.search(image=form, k=3)
        assert keys(hits)[0] == "animal_cat"
        assert hits[0].score == pytest.approx(1, abs=2e-3)


def test_the_same_question_by_vector(gallery: Gallery) -> None:
    text = gallery.search("hammer", k=4)
    vector = gallery.encoder.encode_texts(["hammer"])[0]  # type: ignore[attr-defined]
    by_vector = gallery.search(vector=7 * vector, k=4)
    assert keys(by_vector) == keys(text)
    assert [hit.score for hit in by_vector] == pytest.approx([hit.score for hit in text], abs=1e-5)


def test_zscores_follow_scores(gallery: Gallery) -> None:
    hits = gallery.search("大熊猫", k=184)
    zscores = np.array([hit.zscore for hit in hits], float)
    assert zscores[0] > 3
    assert abs(zscores.mean()) < 2
    assert np.corrcoef(zscores, [hit.score for hit in hits])[0, 1] > 0.9
    assert gallery.search(vector=np.ones(512), k=1)[0].zscore is None


def test_pixels_come_out_of_the_tar(gallery: Gallery) -> None:
    hit = gallery.search("大熊猫", k=1)[0]
    assert hit.metadata["offset"] > 0
    np.testing.assert_array_equal(np.asarray(hit.image()), np.asarray(Image.open(photos.FOLDER / "animal_panda.jpg")))


def test_a_gallery_whose_shards_are_gone_still_answers(demo: Path, tmp_path: Path) -> None:
    from diantu.datasets import find_shards
    from diantu.indexing.embed.job import embed

    shutil.copytree(demo / "shards", tmp_path / "shards")
    encoder = load_encoder("conse", device="cpu")
    embed(find_shards([str(tmp_path / "shards" / "00000.tar")]), tmp_path / "g", encoder)
    (tmp_path / "shards").rename(tmp_path / "moved")
    hits = Gallery.open(tmp_path / "g", encoder=encoder).search("大熊猫", k=2)
    assert keys(hits)[0] == "animal_panda"
    with pytest.raises(FileNotFoundError, match="put the file back"):
        hits[0].image()
    page = hits.sheet(tmp_path / "hits.html").read_text(encoding="utf-8")
    assert page.count("the image is missing") == 2


def test_all_rows_are_given_where_k_is_larger(gallery: Gallery) -> None:
    hits = gallery.search("一座城堡", k=1000)
    assert len(hits) == len(gallery) == 184
    assert len(set(keys(hits))) == 184


def test_many_threads_share_one_gallery(demo: Path) -> None:
    gallery = Gallery.open(demo / "gallery")
    expected = {text: keys(gallery.search(text, k=5)) for text in ("大熊猫", "hammer", "一座城堡", "dam")}
    fresh = Gallery.open(demo / "gallery")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: (text, keys(fresh.search(text, k=5))), list(expected) * 25))
    assert all(keys_ == expected[text] for text, keys_ in found)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "the query is empty"),
        ({"query": "  "}, "is empty"),
        ({"query": "a", "k": 0}, "k is 0"),
        ({"query": "a", "k": "5"}, "k is '5'"),
        ({"query": "a", "k": 2.5}, r"k is 2\.5"),
        ({"query": picture()}, "a text of the query is .*; give a text"),
        ({"query": Query(rows=["a"])}, "a row of the query is 'a'"),
        ({"query": Query(texts=[("a", "b")])}, "is 'b'; give a number"),
        ({"query": Query(texts=[("a", 1, 2)])}, "a tuple of 3 values"),
        ({"vector": "abc"}, "not an array of numbers"),
        ({"vector": np.ones(511)}, "511"),
        ({"vector": np.ones((1, 512))}, "1×512"),
        ({"vector": np.zeros(512)}, "zero or not finite"),
        ({"vector": np.full(512, np.nan)}, "zero or not finite"),
        ({"image": "/no/such.jpg"}, "cannot be read"),
        ({"image": b"no picture"}, "cannot be read"),
        ({"image": np.zeros((5, 5, 5), np.uint8)}, "height × width × 1 to 4"),
    ],
)
def test_queries_that_make_no_sense_are_refused(gallery: Gallery, query: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        gallery.search(**query)  # type: ignore[arg-type]


def test_a_query_of_another_encoder_is_refused(demo: Path, clip_folder: Path) -> None:
    other = load_encoder(f"hf:{clip_folder}", device="cpu")
    with pytest.raises(InputError, match=other.spec.fingerprint):
        Gallery.open(demo / "gallery", encoder=other).search("panda")


def test_a_gallery_without_text_side_says_so(tmp_path: Path, dinov2_folder: Path) -> None:
    from diantu.datasets import find_shards
    from diantu.indexing.embed.job import embed

    source = tmp_path / "photos"
    source.mkdir()
    for name in ("animal_cat.jpg", "animal_dog.jpg", "tool_plier1.jpg"):
        shutil.copy(photos.FOLDER / name, source)
    encoder = load_encoder(f"hf:{dinov2_folder}", device="cpu")
    embed(find_shards([str(source)]), tmp_path / "g", encoder)
    gallery = Gallery.open(tmp_path / "g")
    assert keys(gallery.search(image=source / "animal_dog.jpg", k=1)) == ["animal_dog"]
    with pytest.raises(InputError, match="no text side"):
        gallery.search("a dog")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("img_emb/img_emb_00000.npy", "has changed since it was written"),
        ("metadata/metadata_00000.parquet", "has changed since it was written"),
        ("index/conse/index.json", "build the index again"),
        ("gallery.json", "is damaged"),
    ],
)
@pytest.mark.parametrize("content", [b"", b"[]", None])
def test_damaged_galleries_say_what_is_damaged(
    demo: Path, tmp_path: Path, name: str, message: str, content: bytes | None
) -> None:
    shutil.copytree(demo / "gallery", tmp_path / "g")
    data = (tmp_path / "g" / name).read_bytes()
    (tmp_path / "g" / name).write_bytes(data[: len(data) // 2] if content is None else content)
    if name.startswith("img_emb"):
        shutil.rmtree(tmp_path / "g" / "index")
    if name.startswith("metadata"):
        assert len(Gallery.open(tmp_path / "g").search(vector=np.ones(512), k=184)) == 184  # the row store has it too
        shutil.rmtree(tmp_path / "g" / "rows")
    with pytest.raises(InputError, match=message):
        Gallery.open(tmp_path / "g").search(vector=np.ones(512), k=184)


def test_the_index_of_another_gallery_is_not_used(demo: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import faiss

    shutil.copytree(demo / "gallery", tmp_path / "g")
    other = faiss.IndexFlatIP(512)
    other.add(np.eye(3, 512, dtype=np.float32))  # type: ignore[call-arg]
    faiss.write_index(other, str(tmp_path / "g/index/conse/index.faiss"))
    hits = Gallery.open(tmp_path / "g").search(vector=other.reconstruct(0), k=184)
    assert len(hits) == 184
    assert "every row is compared" in caplog.text

"""The vocabulary of columns, and that all places which read tables use it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from galleries import SPEC
from pictures import jpeg
from scanned import only, samples

from diantu.datasets.download.rows import WORK, Request, choose_rows
from diantu.datasets.names import NAMES, find_caption, find_column, meaning_in_condition
from diantu.indexing.store.layout import metadata_path
from diantu.indexing.upkeep.importing import import_vectors

CAPTION_NAMES = ("caption", "TEXT", "txt", "Alt", "alt_text", "top_caption")


def test_the_preferred_name_is_found_without_regard_to_case() -> None:
    assert find_column(["alt", "TEXT", "width"], "caption") == "TEXT"
    assert find_column(["Image_URL", "img_url"], "url") == "Image_URL"
    assert find_column(["id", "Key"], "key") == "Key"
    assert find_column(["description"], "caption") is None
    assert find_caption(["Caption_zh", "caption_en", "ALT"]) == "ALT"
    assert find_caption(["title", "Caption_zh", "caption_en"]) == "Caption_zh"


def test_names_are_in_lower_case_and_mean_one_thing_in_a_condition() -> None:
    assert all(name == name.lower() for names in NAMES.values() for name in names)
    assert meaning_in_condition("AESTHETIC_SCORE") == "aesthetic"
    assert meaning_in_condition("licence") is None


@pytest.mark.parametrize("name", CAPTION_NAMES)
def test_every_name_of_a_caption_counts_everywhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg())
    (tmp_path / "photos" / "t.csv").write_text(f"file,{name}\na.jpg,a cat\n")
    assert samples(only(tmp_path / "photos"))["a"].caption == "a cat"

    pq.write_table(pa.table({"image": [jpeg()], name: ["a cat"]}), tmp_path / "images.parquet")
    (sample,) = samples(only(tmp_path / "images.parquet")).values()
    assert sample.caption == "a cat"

    table = tmp_path / "urls.parquet"
    pq.write_table(pa.table({"url": ["http://a"], name: ["a cat"]}), table)
    assert choose_rows([table], Request(where="caption = 'a cat'"), tmp_path / "shards") == 1
    assert pq.read_schema(tmp_path / "shards" / WORK / "rows" / "00000.parquet").names == ["url", "caption"]

    record = imported(tmp_path, {name: ["a cat"]})
    assert record["caption"] == "a cat"


def test_an_imported_caption_in_one_language_keeps_its_own_column(tmp_path: Path) -> None:
    record = imported(tmp_path, {"caption_zh": ["一只猫"], "id": [7]})
    assert (record["caption"], record["caption_zh"], record["id"]) == ("一只猫", "一只猫", 7)


def imported(folder: Path, columns: dict[str, list[object]]) -> dict[str, object]:
    """The row of metadata that an import makes of one vector with these columns."""
    for name in ("img_emb", "metadata"):
        (folder / "theirs" / name).mkdir(parents=True)
    np.save(folder / "theirs" / "img_emb" / "img_emb_0.npy", np.eye(1, SPEC.dim, dtype=np.float16))
    pq.write_table(pa.table(columns), folder / "theirs" / "metadata" / "metadata_0.parquet")
    import_vectors(folder / "theirs", folder / "gallery", SPEC)
    (record,) = pq.read_table(metadata_path(folder / "gallery", 0)).to_pylist()
    return record

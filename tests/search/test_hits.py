"""What hits can become: tables, JSON, pages."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from diantu.datasets import InputError
from diantu.search import Gallery, Hits


@pytest.fixture(scope="module")
def hits(demo: Path) -> Hits:
    return Gallery.open(demo / "gallery").search("大熊猫", k=4, where="category = 'animal'")


def test_hits_are_a_sequence(hits: Hits) -> None:
    assert len(hits) == 4
    assert hits[0].key == "animal_panda"
    assert [hit.rank for hit in hits[1:]] == [2, 3, 4]
    assert hits[0] in hits


def test_tables_have_a_row_for_each_hit(hits: Hits) -> None:
    table = hits.to_arrow()
    assert table.column_names[:5] == ["rank", "row", "score", "zscore", "folded"]
    assert table["key"].to_pylist() == [hit.key for hit in hits]
    assert table["caption_zh"].to_pylist() == [hit.metadata["caption_zh"] for hit in hits]
    assert table["score"].to_pylist() == pytest.approx([hit.score for hit in hits])
    frame = hits.to_pandas()
    assert frame.shape == (4, table.num_columns)
    assert frame["width"].tolist() == [hit.metadata["width"] for hit in hits]


def test_no_hits_are_a_table_too(demo: Path) -> None:
    none = Gallery.open(demo / "gallery").search("大熊猫", where="width < 0")
    assert len(none.to_arrow()) == 0
    assert none.to_pandas().empty
    assert none.to_json()["hits"] == []


def test_pandas_is_asked_for_where_it_is_missing(hits: Hits, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "pandas" else found(name, *rest)
    )
    with pytest.raises(InputError, match="pip install pandas"):
        hits.to_pandas()


def test_json_says_what_was_asked_and_how_it_was_answered(hits: Hits) -> None:
    value = json.loads(json.dumps(hits.to_json(), ensure_ascii=False))
    assert value["query"] == {"text": "大熊猫"}
    assert value["explain"]["where"] == "category = 'animal'"
    assert value["explain"]["rows"] == 25
    assert set(value["explain"]["ms"]) == {"encode", "filter", "search", "metadata"}
    assert [hit["key"] for hit in value["hits"]] == [hit.key for hit in hits]


def test_a_notebook_shows_the_pictures(hits: Hits) -> None:
    page = hits._repr_html_()
    assert page.count("data:image/jpeg;base64,") == 4
    assert "大熊猫" in page
    assert "<html" not in page
    assert all(hit.key in page for hit in hits)

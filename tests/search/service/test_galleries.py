"""What a service says about its galleries."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from galleries import DIM, FURTHER, SPEC, keyed, write_gallery
from pictured import client_of
from starlette.testclient import TestClient
from zygote import wait_until

from diantu.indexing.build.job import build_index
from diantu.indexing.upkeep.dedup import find_duplicates
from diantu.indexing.upkeep.deletion import delete
from diantu.search import Gallery


def described(client: TestClient) -> dict[str, Any]:
    """The only gallery, when it is known what its columns hold."""
    found: list[dict[str, Any]] = []

    def is_ready() -> bool:
        found[:] = client.get("/v1/galleries").json()["galleries"]
        return found[0]["columns_ready"]

    wait_until(is_ready, "the columns")
    assert client.get("/v1/galleries/g").json() == found[0]
    return found[0]


def test_a_gallery_is_described(tmp_path: Path) -> None:
    parts = keyed(3, 2)
    parts[0][0] |= {"licence": "CC0", "nan": float("nan"), "<b>": True}
    parts[1][0] |= {"licence": "CC0", "<b>": False}
    root = write_gallery(tmp_path / "g", parts, texts=True)
    client = client_of(root)
    delete(root, keys=["0-2"])
    assert client.app.state.context.galleries["g"].refresh()  # type: ignore[attr-defined]
    gallery = described(client)
    columns = {column.pop("name"): column for column in gallery.pop("columns")}
    assert gallery.pop("names") == Gallery.open(root).columns
    assert gallery == {
        "name": "g", "rows": 4, "version": gallery["version"], "encoder": SPEC.name,
        "spaces": [
            {"name": SPEC.name, "dim": DIM, "has_text": True}, {"name": FURTHER.name, "dim": DIM, "has_text": False},
        ],
        "over": ["images", "captions"], "has_duplicates": False, "has_zscores": False, "columns_ready": True,
        "columns_rows": 4, "licences": [{"licence": "CC0", "count": 2}, {"licence": None, "count": 2}],
    }  # fmt: skip
    assert len(gallery["version"]) == 16
    assert columns["number"] == {"type": "BIGINT", "kind": "range", "missing": 0, "min": 0, "max": 4}
    assert columns["<b>"] == {"type": "BOOLEAN", "kind": "flag", "missing": 2, "true": 1, "false": 1}
    assert columns["nan"] == {"type": "DOUBLE", "kind": "range", "missing": 4, "min": None, "max": None}
    assert columns["caption"] == {"type": "VARCHAR", "kind": "text", "missing": 0}
    assert columns["licence"]["values"] == [{"value": "CC0", "count": 2}]
    assert columns["offset"]["kind"] == "other"


def test_columns_come_when_they_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the first pass over the metadata, which takes seconds for a million rows."""
    from diantu.search import Gallery

    may_go, real = threading.Event(), Gallery.facets

    def slow(gallery: Gallery) -> Any:
        assert may_go.wait(60)
        return real(gallery)

    monkeypatch.setattr(Gallery, "facets", slow)
    client = client_of(write_gallery(tmp_path / "g", keyed(3)))
    for _ in range(2):
        (gallery,) = client.get("/v1/galleries").json()["galleries"]
        assert (gallery["columns_ready"], gallery["licences"]) == (False, [])
        assert {"name": "number", "type": "BIGINT"} in gallery["columns"]
    may_go.set()
    assert described(client)["columns_rows"] == 3


def test_what_a_job_adds_is_described_after_a_refresh(tmp_path: Path) -> None:
    root = write_gallery(tmp_path / "g", keyed(40))
    client = client_of(root)
    before = described(client)
    find_duplicates(root)
    build_index(root, None)
    assert client.app.state.context.galleries["g"].refresh()  # type: ignore[attr-defined]
    after = described(client)
    assert (before["has_duplicates"], before["has_zscores"]) == (False, False)
    assert (after["has_duplicates"], after["has_zscores"]) == (True, True)
    assert after["version"] != before["version"]
    assert {column["name"] for column in after["columns"]} - {column["name"] for column in before["columns"]} == {
        "duplicate_of"
    }


def test_damaged_metadata_leaves_columns_without_facts(tmp_path: Path) -> None:
    root = write_gallery(tmp_path / "g", keyed(3))
    client = client_of(root)
    client.app.state.context.opened(None).gallery.column_types  # noqa: B018 - the footers are read now
    path = root / "metadata/metadata_00000.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    gallery = described(client)
    assert {"name": "number", "type": "BIGINT"} in gallery["columns"]
    assert gallery["columns_rows"] == 0


@pytest.mark.parametrize("name", ["x", "..", "G", "%00"])
def test_other_names_are_not_served(tmp_path: Path, name: str) -> None:
    response = client_of(write_gallery(tmp_path / "g", keyed(1))).get(f"/v1/galleries/{name}")
    assert response.status_code in (404, 405)
    assert response.headers["content-type"] == "application/problem+json"

"""Rows, their images and thumbnails over HTTP."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from galleries import SPEC, keyed, unit, write_gallery
from pictured import client_of, picture, write_images
from PIL import Image
from starlette.testclient import TestClient

from diantu.indexing.upkeep.compaction import compact
from diantu.indexing.upkeep.deletion import delete
from diantu.indexing.upkeep.importing import import_vectors

HTML = b"<html><script>alert(1)</script></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
IMAGES = {
    "red": picture("red", (640, 480)),
    "png": picture("blue", (10, 20), "PNG"),
    "html": HTML,
    "svg": SVG,
    "torn": picture("green", (640, 480))[:200],
    "webp": picture("green", (30, 30), "WEBP"),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), IMAGES, licence="CC0", score=0.5)


@pytest.fixture(scope="module")
def client(images: Path) -> TestClient:
    return client_of(images)


def problem(response: Any, status: int) -> str:
    """The sentence of a problem document."""
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == response.status_code == status
    return response.json()["detail"]


def test_a_row_has_its_metadata_and_vector(client: TestClient) -> None:
    row = client.get("/v1/rows/1", params={"with_vector": "true"}).json()
    assert (row["gallery"], row["row"], row["key"], row["caption"]) == ("g", 1, "png", "caption of png")
    assert row["metadata"]["licence"] == "CC0"
    assert row["metadata"]["table_score"] == 0.5  # `score` is a field of hits
    assert not row["metadata"].keys() & {"key", "caption", "width"}  # named above, or without a value
    assert np.array(row["vector"]) == pytest.approx(unit(0, len(IMAGES))[1], abs=1e-3)
    (hit,) = client.post("/v1/search", json={"vector": row["vector"], "k": 1}).json()["hits"]
    assert (hit["row"], hit["part"]) == (1, row["part"])
    assert "vector" not in client.get("/v1/rows/1").json()


def test_columns_are_chosen_by_any_of_their_names(client: TestClient) -> None:
    row = client.get("/v1/rows/0", params={"columns": ["licence", "image_path"]}).json()
    assert row["metadata"] == {"licence": "CC0", "image_path": "0.jpg"}
    assert row["key"] == "red"
    assert "'licens'" in problem(client.get("/v1/rows/0?columns=licens"), 400)


def test_several_rows_come_in_the_order_asked(client: TestClient) -> None:
    answer = client.post("/v1/rows", json={"rows": [3, 0, 3], "columns": [], "with_vectors": True}).json()
    assert [(row["row"], row["key"], row["metadata"]) for row in answer["rows"]] == [
        (3, "svg", {}), (0, "red", {}), (3, "svg", {}),
    ]  # fmt: skip
    assert answer["rows"][0] == answer["rows"][2]
    assert client.post("/v1/rows", json={"rows": []}).json()["rows"] == []
    assert "at most 1000" in problem(client.post("/v1/rows", json={"rows": [0] * 1001}), 400)


@pytest.mark.parametrize("row", [6, 2**63 - 1])
def test_rows_that_do_not_exist(client: TestClient, row: int) -> None:
    sentence = f"row {row} is not one of the gallery's rows, which are 0 to 5"
    for path in (f"/v1/rows/{row}", f"/v1/rows/{row}/image", f"/v1/rows/{row}/thumbnail"):
        assert problem(client.get(path), 404) == sentence
    assert problem(client.post("/v1/rows", json={"rows": [0, row]}), 404) == sentence


@pytest.mark.parametrize("row", ["-1", str(2**63), "1.5", "x", "%2e%2e", "0x1", "1e3", "9" * 400])
def test_what_is_no_row_id(client: TestClient, row: str) -> None:
    for path in (f"/v1/rows/{row}", f"/v1/rows/{row}/image"):
        response = client.get(path)
        assert response.status_code in (400, 404)
        assert problem(response, response.status_code)
    assert problem(client.post("/v1/rows", json={"rows": [row]}), 400)


@pytest.mark.parametrize(("row", "kind"), [(0, "image/jpeg"), (1, "image/png"), (4, "image/jpeg"), (5, "image/webp")])
def test_images_come_byte_for_byte_with_their_type(client: TestClient, row: int, kind: str) -> None:
    response = client.get(f"/v1/rows/{row}/image")
    assert response.content == list(IMAGES.values())[row]
    assert response.headers["content-type"] == kind
    assert "content-disposition" not in response.headers


@pytest.mark.parametrize("row", [2, 3])
def test_what_is_no_image_is_never_served_as_a_page(client: TestClient, row: int) -> None:
    response = client.get(f"/v1/rows/{row}/image")
    assert response.content == list(IMAGES.values())[row]
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"].startswith("attachment;")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in response.headers["content-security-policy"]
    assert "are not an image any more" in problem(client.get(f"/v1/rows/{row}/thumbnail"), 404)


@pytest.mark.parametrize(
    ("row", "asked", "size"), [(0, 100, (100, 75)), (0, 640, (640, 480)), (0, 2048, (640, 480)), (1, 32, (10, 20))]
)
def test_thumbnails_fit_and_are_never_enlarged(client: TestClient, row: int, asked: int, size: tuple[int, int]) -> None:
    response = client.get(f"/v1/rows/{row}/thumbnail", params={"size": asked})
    assert response.headers["content-type"] == "image/jpeg"
    image = Image.open(io.BytesIO(response.content))
    assert (image.format, image.size) == ("JPEG", size)
    red, _, blue = image.convert("RGB").getpixel((3, 3))  # type: ignore[misc]
    assert (red > 240, blue > 240) == (row == 0, row == 1)


@pytest.mark.parametrize("size", ["31", "2049", "-1", "x", "1e2"])
def test_sizes_of_thumbnails_are_bounded(client: TestClient, size: str) -> None:
    assert problem(client.get(f"/v1/rows/0/thumbnail?size={size}"), 400).startswith("size is ")


def test_a_torn_image_has_no_thumbnail(client: TestClient) -> None:
    assert "are not an image any more" in problem(client.get("/v1/rows/4/thumbnail"), 404)


def test_a_browser_keeps_images(client: TestClient) -> None:
    part = client.get("/v1/rows/0").json()["part"]
    etags = set()
    for path in ("/v1/rows/0/image", "/v1/rows/0/thumbnail", "/v1/rows/0/thumbnail?size=100", "/v1/rows/1/image"):
        first = client.get(path)
        etags.add(first.headers["etag"])
        assert first.headers["cache-control"] == "no-cache"
        for known in (first.headers["etag"], f'"x", W/{first.headers["etag"]}', "*"):
            again = client.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
        assert client.get(path, headers={"If-None-Match": '"other"'}).content == first.content
        forever = client.get(path, params={"part": part, **dict(first.url.params)})
        assert forever.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert forever.content == first.content
    assert len(etags) == 4


def test_another_part_is_gone(client: TestClient) -> None:
    for path in ("image", "thumbnail"):
        for part in ("0" * 12, "", "x\r\nSet-Cookie: a=b", "../..", "ü"):
            response = client.get(f"/v1/rows/0/{path}", params={"part": part}, headers={"If-None-Match": "*"})
            assert "search again" in problem(response, 410)
            assert "set-cookie" not in response.headers


def test_thumbnails_are_kept_within_a_limit(images: Path) -> None:
    client = client_of(images)
    kept = client.app.state.context.thumbnails  # type: ignore[attr-defined]
    sizes = [len(client.get(f"/v1/rows/0/thumbnail?size={size}").content) for size in (64, 64, 128)]
    assert kept.size == sizes[0] + sizes[2]
    (images.parent / "shard.tar").rename(images.parent / "moved.tar")
    try:
        assert client.get("/v1/rows/0/thumbnail?size=64").status_code == 200
        assert "cannot be read from" in problem(client.get("/v1/rows/0/thumbnail?size=65"), 404)
        assert "cannot be read from" in problem(client.get("/v1/rows/0/image"), 404)
        assert client.get("/v1/rows/0").status_code == 200
    finally:
        (images.parent / "moved.tar").rename(images.parent / "shard.tar")


def test_deleted_rows_are_gone_and_compacted_rows_are_others(tmp_path: Path) -> None:
    """A compaction moves rows: what a browser keeps must not be shown for another image."""
    root = write_gallery(tmp_path / "g", keyed(3, 3))
    client = client_of(root)
    before = {row: client.get(f"/v1/rows/{row}").json()["part"] for row in range(6)}
    delete(root, keys=["0-1"])
    assert client.app.state.context.galleries["g"].refresh()  # type: ignore[attr-defined]
    assert problem(client.get("/v1/rows/1"), 410) == "row 1 was deleted from the gallery; name another one"
    assert problem(client.get("/v1/rows/1/image"), 410)
    assert {row: client.get(f"/v1/rows/{row}").json()["part"] for row in (0, 3)} == {0: before[0], 3: before[3]}
    compact(root, tmp_path / "new")
    after = client_of(tmp_path / "new")
    assert [after.get(f"/v1/rows/{row}").json()["key"] for row in range(5)] == ["0-0", "0-2", "1-0", "1-1", "1-2"]
    for row in range(5):  # part 1 has the same files as before, but its rows have other ids
        assert problem(after.get(f"/v1/rows/{row}/image?part={before[row]}"), 410)


def test_only_galleries_that_are_served(client: TestClient) -> None:
    for gallery in ("x", "../g", "", "g\n"):
        assert "is not served" in problem(client.get("/v1/rows/0", params={"gallery": gallery}), 404)
    assert client.get("/v1/rows/0?gallery=g").status_code == 200


def test_keys_captions_and_names_of_strangers_are_only_text(tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>\r\nSet-Cookie: a=b\x1b[31m\u202e"
    root = write_images(tmp_path, {evil: picture(), f"{evil}2": b"GIF"}, **{evil: evil})
    client = client_of(root)
    response = client.get("/v1/rows/0")
    assert response.json()["key"] == evil
    assert response.json()["metadata"][evil] == evil
    assert response.headers["content-type"] == "application/json"
    for path in ("/v1/rows/0/image", "/v1/rows/1/image", "/v1/rows/0/thumbnail"):
        headers = client.get(path).headers
        assert "set-cookie" not in headers
        assert "script" not in str({name: value for name, value in headers.items() if "security" not in name})


def test_the_table_of_an_import_cannot_publish_other_files(tmp_path: Path) -> None:
    """It may name any file; only images are given away, and only what is one now."""
    (tmp_path / "secret.txt").write_text("root:x:0:0")
    (tmp_path / "image.jpg").write_bytes(picture())
    paths = ["secret.txt", "image.jpg", "missing.jpg", "/proc/self/environ", "/dev/zero", "."]
    theirs = tmp_path / "theirs"
    for name in ("img_emb", "metadata"):
        (theirs / name).mkdir(parents=True)
    np.save(theirs / "img_emb/img_emb_0.npy", unit(1, len(paths)))
    table = pa.table({"image_path": [str(tmp_path / path) for path in paths]})
    pq.write_table(table, theirs / "metadata/metadata_0.parquet")
    import_vectors(theirs, tmp_path / "g", SPEC)
    client = client_of(tmp_path / "g")
    assert client.get("/v1/rows/1/image").content == picture()
    for row in (0, 2, 3, 4, 5):
        assert "was imported" in problem(client.get(f"/v1/rows/{row}/image"), 404)
        assert "was imported" in problem(client.get(f"/v1/rows/{row}/thumbnail"), 404)
    archive = client.post("/v1/export", json={"rows": list(range(len(paths))), "format": "zip"}).content
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert [name for name in opened.namelist() if name != "metadata.jsonl"] == ["1_image.jpg"]

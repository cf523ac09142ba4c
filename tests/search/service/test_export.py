"""Downloads of rows as JSONL, CSV and zip archives."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from pictured import client_of, picture, write_images
from starlette.testclient import TestClient

from diantu.indexing.upkeep.deletion import delete

KEYS = {
    "red": picture("red"),
    "../../etc/passwd": picture("blue", kind="PNG"),
    "C:\\windows\\x": picture("green", kind="WEBP"),
    "熊猫/大": picture("white"),
    "": picture("black"),
    "CON": b"<svg onload=alert(1)>",
    "=1+1": picture("pink"),
    "a\r\nSet-Cookie: x=y": picture("gray"),
    "x" * 500: picture("orange"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("export"), KEYS, file="mine", author="@sum(1)", tags=["a", "b"])


@pytest.fixture(scope="module")
def client(root: Path) -> TestClient:
    return client_of(root)


def export(client: TestClient, rows: list[int], kind: str) -> Any:
    response = client.post("/v1/export", json={"rows": rows, "format": kind})
    assert response.status_code == 200, response.text
    assert response.headers["content-disposition"].startswith(f'attachment; filename="g.{kind}"')
    return response


def test_jsonl_has_a_line_for_each_row(client: TestClient) -> None:
    response = export(client, [3, 0, 3], "jsonl")
    assert response.headers["content-type"] == "application/jsonl"
    lines = [json.loads(line) for line in response.text.split("\n") if line]
    assert [(line["row"], line["key"]) for line in lines] == [(3, "熊猫/大"), (0, "red")]
    assert lines[0]["table_file"] == "mine"
    assert lines[0]["tags"] == ["a", "b"]
    assert "width" not in lines[0]  # it has no value


def test_csv_is_safe_for_spreadsheets(client: TestClient) -> None:
    response = export(client, [6, 7], "csv")
    assert response.content.startswith(b"\xef\xbb\xbf")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    first, second = csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"), newline=""))
    assert (first["row"], first["key"], first["author"]) == ("6", "'=1+1", "'@sum(1)")
    assert (second["key"], second["tags"]) == ("a\nSet-Cookie: x=y", '["a", "b"]')


def test_a_zip_has_the_originals_under_safe_names(client: TestClient) -> None:
    rows = [*range(len(KEYS)), 0]
    archive = zipfile.ZipFile(io.BytesIO(export(client, rows, "zip").content))
    assert archive.testzip() is None
    assert archive.namelist() == [
        "0_red.jpg", "1_etc_passwd.png", "2_C_windows_x.webp", "3_熊猫_大.jpg", "4.jpg", "5_CON.bin", "6_1_1.jpg",
        "7_a_Set-Cookie_x_y.jpg", f"8_{'x' * 80}.jpg", "metadata.jsonl",
    ]  # fmt: skip
    for name in archive.namelist():
        path = PurePosixPath(name)
        assert len(path.parts) == 1
        assert not path.is_absolute()
        assert archive.getinfo(name).external_attr >> 16 == 0o644
    assert [archive.read(name) for name in archive.namelist()[:-1]] == list(KEYS.values())
    lines = [json.loads(line) for line in archive.read("metadata.jsonl").decode().split("\n") if line]
    assert [line["file"] for line in lines] == archive.namelist()[:-1]
    assert [line["key"] for line in lines] == list(KEYS)
    assert {line["table_file"] for line in lines} == {"mine"}


def test_a_zip_says_which_images_are_missing(root: Path, client: TestClient) -> None:
    (root.parent / "shard.tar").rename(root.parent / "moved.tar")
    try:
        archive = zipfile.ZipFile(io.BytesIO(export(client, [0, 1], "zip").content))
    finally:
        (root.parent / "moved.tar").rename(root.parent / "shard.tar")
    assert archive.namelist() == ["metadata.jsonl"]
    lines = [json.loads(line) for line in archive.read("metadata.jsonl").decode().split("\n") if line]
    assert [(line["row"], line["file"]) for line in lines] == [(0, None), (1, None)]
    assert all("cannot be read from" in line["problem"] for line in lines)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"rows": [0, 9]}, 404),
        ({"rows": []}, 400),
        ({"rows": [0] * 10_001}, 400),
        ({"rows": [2**63]}, 400),
        ({"rows": ["0"]}, 400),
        ({"rows": [0], "format": "tar"}, 400),
        ({"rows": [0], "gallery": "../g"}, 404),
        ({"rows": [0], "name": "../../x"}, 400),
    ],
)
def test_what_cannot_be_exported_is_told_before_anything_is_sent(
    client: TestClient, fields: dict[str, Any], status: int
) -> None:
    response = client.post("/v1/export", json={"format": "zip", **fields})
    assert (response.status_code, response.json()["status"]) == (status, status)
    assert "content-disposition" not in response.headers


def test_deleted_rows_are_gone(tmp_path: Path) -> None:
    root = write_images(tmp_path, {"a": picture(), "b": picture()})
    delete(root, keys=["b"])
    assert client_of(root).post("/v1/export", json={"rows": [0, 1], "format": "jsonl"}).status_code == 410


def test_exports_at_the_same_time_are_bounded(client: TestClient) -> None:
    """An export that ends, or is never read, makes room for the next one."""
    for _ in range(5):
        export(client, [0], "zip")
    running = client.app.state.context.exports  # type: ignore[attr-defined]
    assert running.acquire(blocking=False)
    assert running.acquire(blocking=False)
    response = client.post("/v1/export", json={"rows": [0], "format": "jsonl"})
    assert (response.status_code, response.headers["retry-after"]) == (429, "5")
    running.release(2)
    export(client, [0], "jsonl")


def test_a_gallery_with_a_name_in_chinese(root: Path) -> None:
    from diantu.search.service.app import create_app
    from diantu.search.service.settings import Settings

    client = TestClient(create_app(Settings(galleries={"图库": root})), "http://127.0.0.1")
    response = client.post("/v1/export", json={"rows": [0], "format": "csv"})
    assert response.headers["content-disposition"] == (
        "attachment; filename=\"__.csv\"; filename*=UTF-8''%E5%9B%BE%E5%BA%93.csv"
    )

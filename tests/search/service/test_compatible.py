"""clip-retrieval's routes, as its clients call them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from galleries import DIM, keyed, unit, write_gallery
from pictured import client_of, picture, write_images
from PIL import Image
from planted import plant
from starlette.testclient import TestClient

from diantu.indexing.upkeep.deletion import delete

NUM = 60
TEXT = {"text": "a castle", "modality": "image", "num_images": 5, "indice_name": "g"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows with URLs; every tenth row does not say how unsafe it is."""
    parts = keyed(40, 20)
    for record in (record for part in parts for record in part):
        row = record["number"]
        record |= {
            "url": f"https://example.org/{row}.jpg", "punsafe": None if row % 10 == 0 else row / NUM,
            "aesthetic": float(row % 7), "similarity": 0.25, "id": row + 2**60,
        }  # fmt: skip
    return write_gallery(tmp_path_factory.mktemp("compatible") / "g", parts, texts=True)


@pytest.fixture(scope="module")
def client(root: Path) -> TestClient:
    return client_of(root)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """Rows without URLs, whose images lie in a tar."""
    images = {"red": picture("red", (900, 600)), "gone": b"not an image", "blue": picture("blue", kind="PNG")}
    return client_of(write_images(tmp_path_factory.mktemp("shown"), images, licence="CC0"))


def knn(client: TestClient, **fields: Any) -> list[dict[str, Any]]:
    """Searches as the Python client does: JSON without a Content-Type."""
    response = client.post("/knn-service", content=json.dumps({**TEXT, **fields}).encode())
    assert response.status_code == 200, response.text
    return response.json()


def problem(response: Any, status: int) -> str:
    assert response.headers["content-type"] == "application/problem+json"
    assert response.status_code == status, response.text
    return response.json()["detail"]


def test_galleries_are_indices(client: TestClient) -> None:
    for path in ("/indices-list", "//indices-list"):
        assert client.get(f"http://127.0.0.1{path}").json() == ["g"]
    assert client.get("/config.json").json() == {
        "defaultBackend": "http://127.0.0.1/", "defaultIndex": "g", "urlColumn": "url",
    }  # fmt: skip


@pytest.mark.parametrize(
    "kind", [None, "text/plain;charset=UTF-8", "application/json", "application/octet-stream", "x"]
)
def test_the_body_is_read_whatever_it_is_called(client: TestClient, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    for path in ("/knn-service", "//knn-service"):
        response = client.post(f"http://127.0.0.1{path}", content=json.dumps(TEXT), headers=headers)
        assert [result["id"] for result in response.json()] == [result["id"] for result in knn(client)]
    answer = client.post("/metadata", content='{"ids": [7], "indice_name": "g"}', headers=headers).json()
    assert (answer[0]["id"], answer[0]["metadata"]["key"]) == (7, "0-7")


def test_results_have_id_similarity_and_metadata(client: TestClient) -> None:
    hits = client.post("/v1/search", json={"text": "a castle", "k": 5}).json()["hits"]
    results = knn(client)
    assert [result["id"] for result in results] == [hit["row"] for hit in hits]
    assert [result["similarity"] for result in results] == pytest.approx([hit["score"] for hit in hits], abs=1e-6)
    for result, hit in zip(results, hits, strict=True):
        row = hit["row"]
        assert result["url"] == f"https://example.org/{row}.jpg"
        assert result["caption"] == hit["caption"]
        assert result["table_similarity"] == 0.25  # the gallery's own columns are not lost
        assert result["table_id"] == row + 2**60
        assert "image" not in result
        assert None not in result.values()


def test_results_beyond_num_images_have_only_an_id_and_a_similarity(client: TestClient) -> None:
    results = knn(client, num_images=3, num_result_ids=50)
    assert len(results) == 50
    assert all("caption" in result for result in results[:3])
    assert all(result.keys() == {"id", "similarity"} for result in results[3:])
    assert [result["similarity"] for result in results] == sorted((r["similarity"] for r in results), reverse=True)
    assert [result["id"] for result in knn(client, num_images=3)] == [result["id"] for result in results[:3]]
    assert all(result.keys() == {"id", "similarity"} for result in knn(client, num_images=0, num_result_ids=4))
    assert len(knn(client, num_images=1000, num_result_ids=10_000)) == NUM
    ids = [result["id"] for result in results[3:7]]
    answer = client.post("/metadata", json={"ids": ids, "indice_name": "g"}).json()
    assert [each["id"] for each in answer] == ids
    assert [each["metadata"]["number"] for each in answer] == ids


def test_text_comes_before_image_before_url_before_vector(client: TestClient) -> None:
    red = base64.b64encode(picture("red")).decode()
    vector = unit(5, 1)[0].tolist()
    by_text = knn(client)
    by_image = knn(client, text=None, image=red)
    by_vector = knn(client, text=None, embedding_input=vector)
    assert len({str(each) for each in (by_text, by_image, by_vector)}) == 3
    others = {"image_url": "http://127.0.0.1/v1/rows/99999/image", "embedding_input": vector}
    assert knn(client, image="!", **others) == by_text
    assert knn(client, text="", image=red, **others) == by_image
    assert problem(client.post("/knn-service", json={**TEXT, "text": None, **others}), 404).startswith(
        "row 99999 is not"
    )
    assert knn(client, text=None, image=None, image_url=None, embedding_input=vector) == by_vector
    longer = knn(client, text=None, embedding_input=[1000 * value for value in vector])
    assert [result["id"] for result in longer] == [result["id"] for result in by_vector]


def test_captions_are_searched_for_the_modality_text(client: TestClient) -> None:
    texts_ND = np.concatenate([unit(2, 40), unit(5, 20)]).astype(np.float16).astype(np.float32)
    query_D = texts_ND[45]
    results = knn(client, text=None, embedding_input=query_D.tolist(), modality="text", num_images=60)
    assert [result["id"] for result in results] == np.argsort(-(texts_ND @ query_D), kind="stable").tolist()


def test_near_duplicates_of_the_results_are_one(tmp_path: Path) -> None:
    """Chains count: a is like b, b is like c, and a is not like c."""
    angles = [0.0, 0.3, 0.6, 0.9, 2.0, 2.1, 3.0]  # cos 0.3 = 0.955, cos 0.6 = 0.825
    emb_ND = np.zeros((len(angles), 8), np.float32)
    emb_ND[:, 0], emb_ND[:, 1] = np.cos(angles), np.sin(angles)
    client = client_of(plant(tmp_path / "g", emb_ND, [{} for _ in angles]))
    fields = {"text": None, "embedding_input": [1, 0.01, 0, 0, 0, 0, 0, 0], "num_images": 7}
    assert [result["id"] for result in knn(client, **fields)] == [0, 1, 2, 3, 4, 5, 6]
    assert [result["id"] for result in knn(client, **fields, deduplicate=True)] == [0, 4, 6]


def test_many_results_are_deduplicated_quickly(tmp_path: Path) -> None:
    base_ND = unit(3, 5)
    emb_ND = np.repeat(base_ND, 1000, axis=0)
    client = client_of(plant(tmp_path / "g", emb_ND, [{} for _ in emb_ND]))
    results = knn(client, text=None, embedding_input=base_ND[2].tolist(), num_result_ids=5000, deduplicate=True)
    near = base_ND @ base_ND.T >= 0.94
    assert not (near & ~np.eye(5, dtype=bool)).any()
    assert len(results) == 5
    assert results[0]["id"] == 2000


def test_unsafe_rows_are_left_out_and_unknown_ones_stay(client: TestClient) -> None:
    everything = knn(client, num_images=NUM)
    safe = knn(client, num_images=NUM, use_safety_model=True)
    assert [result["id"] for result in safe] == [
        result["id"] for result in everything if result["id"] % 10 == 0 or result["id"] / NUM <= 0.5
    ]


def test_aesthetic_scores_move_results(client: TestClient) -> None:
    results = knn(client, num_images=20, aesthetic_score=9, aesthetic_weight=0.5)
    plain = knn(client, num_images=20)
    assert {result["id"] for result in results} == {result["id"] for result in plain}
    ranks = [result["similarity"] + 0.45 * result["aesthetic"] / 10 for result in results]
    assert ranks == sorted(ranks, reverse=True)
    assert results != plain
    assert knn(client, num_images=20, aesthetic_score="9", aesthetic_weight="0.5") == results
    for none in ({"aesthetic_score": "", "aesthetic_weight": "0.5"}, {"aesthetic_score": 9, "aesthetic_weight": 0}):
        assert knn(client, num_images=20, **none) == plain


def test_what_has_no_effect_is_named_in_a_header(client: TestClient, tmp_path: Path) -> None:
    fields = {**TEXT, "use_mclip": True, "use_violence_detector": True, "use_safety_model": True, "aesthetic_score": 9}
    assert client.post("/knn-service", json=fields).headers["x-diantu-ignored"] == "use_mclip, use_violence_detector"
    plain = client_of(write_gallery(tmp_path / "g", keyed(3)))
    response = plain.post("/knn-service", json=fields)
    assert len(response.json()) == 3
    assert response.headers["x-diantu-ignored"] == (
        "use_mclip, use_violence_detector, use_safety_model, aesthetic_score"
    )
    assert "x-diantu-ignored" not in client.post("/knn-service", json=TEXT).headers


def test_a_punsafe_of_texts_does_not_fail_a_search(tmp_path: Path) -> None:
    parts = keyed(3)
    for record, punsafe in zip(parts[0], ("0.9", "unknown", "0.1"), strict=True):
        record["punsafe"] = punsafe
    results = knn(client_of(write_gallery(tmp_path / "g", parts)), use_safety_model=True)
    assert sorted(result["id"] for result in results) == [1, 2]


def test_a_row_without_a_url_has_its_image_here(shown: TestClient) -> None:
    results = {result["key"]: result for result in knn(shown)}
    assert results["red"]["url"].startswith("http://127.0.0.1/v1/rows/0/image?gallery=g&part=")
    assert shown.get(results["red"]["url"]).headers["content-type"] == "image/jpeg"
    image = Image.open(io.BytesIO(base64.b64decode(results["red"]["image"])))
    assert (image.format, image.size) == ("JPEG", (256, 171))
    assert not results["gone"].keys() & {"url", "image"}
    (answer,) = shown.post("/metadata", json={"ids": [0], "indice_name": "g"}).json()
    assert answer["metadata"]["image"] == results["red"]["image"]
    assert answer["metadata"]["licence"] == "CC0"


def test_a_result_is_a_query(shown: TestClient) -> None:
    """clip-retrieval's page searches by the URL or the image of a result."""
    red = next(result for result in knn(shown) if result["key"] == "red")
    by_url = knn(shown, text=None, image_url=red["url"])
    by_image = knn(shown, text=None, image=base64.b64encode(picture("red")).decode())
    assert [(each["id"], each["similarity"]) for each in by_url] == [
        (each["id"], pytest.approx(each["similarity"], abs=1e-3)) for each in by_image
    ]
    stranger = {**TEXT, "text": None, "image_url": "http://192.0.2.1/x.jpg"}
    assert "does not download images" in problem(shown.post("/knn-service", json=stranger), 403)


def test_no_results_are_an_empty_list(tmp_path: Path) -> None:
    client = client_of(write_gallery(tmp_path / "g", [[]]))
    assert knn(client) == []
    assert client.post("/metadata", json={"ids": [], "indice_name": "nothing"}).json() == []


def test_deleted_rows_have_no_metadata(tmp_path: Path) -> None:
    root = write_gallery(tmp_path / "g", keyed(4))
    delete(root, keys=["0-2"])
    client = client_of(root)
    answer = client.post("/metadata", json={"ids": [1, 2, 1, "3"], "indice_name": "g"}).json()
    assert [(each["id"], each["metadata"].get("key")) for each in answer] == [
        (1, "0-1"), (2, None), (1, "0-1"), (3, "0-3"),
    ]  # fmt: skip
    assert problem(client.post("/metadata", json={"ids": [4]}), 404).startswith("row 4 is not one of")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"text": None}, 400),
        ({"text": ""}, 400),
        ({"text": " \u200b"}, 400),
        ({"text": 5}, 400),
        ({"text": None, "image": "!"}, 400),
        ({"text": None, "image": base64.b64encode(b"<svg/>").decode()}, 400),
        ({"text": None, "image_url": "ftp://x/y"}, 400),
        ({"text": None, "image_url": "http://127.0.0.1:1/x.jpg"}, 403),
        ({"text": None, "embedding_input": [1.0]}, 400),
        ({"text": None, "embedding_input": [0.0] * DIM}, 400),
        ({"text": None, "embedding_input": [[1.0] * DIM]}, 400),
        ({"text": None, "embedding_input": [float("nan")] * DIM}, 400),
        ({"modality": "audio"}, 400),
        ({"num_images": -1}, 400),
        ({"num_result_ids": 0}, 400),
        ({"num_result_ids": 10_001}, 400),
        ({"num_images": 1e300}, 400),
        ({"indice_name": "laion5B"}, 404),
        ({"aesthetic_score": 10}, 400),
        ({"aesthetic_score": "x"}, 400),
        ({"aesthetic_weight": float("inf")}, 400),
    ],
)
def test_what_cannot_be_used_is_told_in_a_sentence(client: TestClient, fields: dict[str, Any], status: int) -> None:
    assert problem(client.post("/knn-service", content=json.dumps({**TEXT, **fields})), status)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"ids": [1.5]}', b'{"ids": 5}'])
def test_bodies_that_are_no_requests(client: TestClient, body: bytes) -> None:
    for path in ("/metadata", "/knn-service"):
        assert problem(client.post(path, content=body), 400)


def test_captions_are_searched_only_where_there_are_vectors(tmp_path: Path) -> None:
    client = client_of(write_gallery(tmp_path / "g", keyed(2)))
    response = client.post("/knn-service", json={**TEXT, "modality": "text"})
    assert "has no vectors of captions" in problem(response, 400)


def test_the_summary_of_metrics_is_a_table(root: Path) -> None:
    client = client_of(root)
    assert client.get("/metrics-summary").text == "There were no requests yet.\n"
    for _ in range(3):
        knn(client)
    response = client.get("/metrics-summary")
    assert response.headers["content-type"].startswith("text/plain")
    lines = response.text.splitlines()
    assert lines[0].startswith("3 calls of the knn end point took ")
    calls = {line.split()[0]: int(line.split()[-3]) for line in lines[3:]}
    assert calls == {
        "diantu_encode_seconds": 3, "diantu_search_seconds": 3, "diantu_filter_seconds": 3,
        "diantu_metadata_seconds": 3, "diantu_decode_seconds": 0,
    }  # fmt: skip


def test_a_token_is_asked_for(root: Path) -> None:
    client = client_of(root, token="0123456789abcdef")
    for path in ("/indices-list", "//indices-list", "/config.json", "/metrics-summary"):
        assert problem(client.get(f"http://127.0.0.1{path}"), 401)
        assert client.get(path, headers={"Authorization": "Bearer 0123456789abcdef"}).status_code == 200
    assert problem(client.post("/knn-service", json=TEXT), 401)

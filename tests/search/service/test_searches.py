"""`POST /v1/search` and `/v1/search/batch`: the same answers as `Gallery.search`, in JSON."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from services import DIM, client, encoder_of

from diantu.search import Gallery, Query


def png(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(buffer, "PNG")
    return buffer.getvalue()


def rows(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [hit["row"] for hit in answer.json()["hits"]]


def test_an_answer_is_that_of_the_gallery(service: TestClient, root: Path) -> None:
    given = {"text": "大熊猫", "k": 3, "where": "width > 110", "effort": "exact", "gallery": "g"}
    answer = service.post("/v1/search", json=given).json()
    expected = Gallery.open(root, encoder=encoder_of(root)).search("大熊猫", k=3, where="width > 110", effort="exact")
    assert len(answer["hits"]) == 3
    assert all(len(hit.pop("part")) == 12 for hit in answer["hits"])
    said = expected.to_json()
    assert answer["hits"] == said["hits"]
    assert answer["query"] == said["query"] == {"text": "大熊猫"}
    assert {**answer["explain"], "ms": None} == {**said["explain"], "ms": None}
    assert (answer["gallery"], len(answer["version"])) == ("g", 16)


def test_every_kind_of_term(service: TestClient, root: Path) -> None:
    encoder = encoder_of(root)
    gallery = Gallery.open(root, encoder=encoder)
    red, blue = png((255, 0, 0)), png((0, 0, 255))
    vector = [float(value) for value in range(1, DIM + 1)]
    given = {
        "texts": ["a", {"text": "b", "weight": 2}],
        "images": [base64.b64encode(red).decode(), {"image": data_url(blue), "weight": 0.5}],
        "vectors": [vector, {"vector": vector[::-1], "weight": 3.5}],
        "rows": [7, {"row": 8, "weight": 0.25}],
        "negatives": ["x", {"text": "y", "weight": 1}, {"image": data_url(red)}],
        "k": 20,
    }
    query = Query(
        texts=["a", ("b", 2)], images=[red, (blue, 0.5)],
        vectors=[np.array(vector), (np.array(vector[::-1]), 3.5)], rows=[7, (8, 0.25)],
        negatives=["x", ("y", 1), red],
    )  # fmt: skip
    assert rows(service.post("/v1/search", json=given)) == [hit.row for hit in gallery.search(query, k=20)]


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def test_a_form_with_files_is_the_same_as_json(service: TestClient) -> None:
    red, blue, green = (png(colour) for colour in ((255, 0, 0), (0, 0, 255), (0, 255, 0)))
    by_json = {"images": [data_url(red), data_url(blue)], "negatives": [{"image": data_url(green)}], "k": 7}
    files = [
        ("request", (None, json.dumps({"k": 7}), "application/json")),
        ("image", ("red.png", red, "image/png")),
        ("images", ("blue.png", blue)),
        ("negative_images", ("green.png", green, "text/html")),
    ]
    expected = rows(service.post("/v1/search", json=by_json))
    assert len(expected) == 7
    assert rows(service.post("/v1/search", files=files)) == expected


def test_vectors_on_request(service: TestClient, root: Path) -> None:
    answer = service.post("/v1/search", json={"rows": [5], "k": 4, "with_vectors": True}).json()
    stored = Gallery.open(root).vectors([hit["row"] for hit in answer["hits"]])
    assert answer["hits"][0]["row"] == 5
    np.testing.assert_array_equal([hit["vector"] for hit in answer["hits"]], stored)


def test_a_batch_is_its_queries(service: TestClient) -> None:
    queries = [{"text": "a"}, {"rows": [3]}, {"text": "b", "negatives": ["c"]}]
    answers = service.post("/v1/search/batch", json={"queries": queries, "k": 5, "where": "width > 100"}).json()
    single = [service.post("/v1/search", json={**query, "k": 5, "where": "width > 100"}) for query in queries]
    assert [[hit["row"] for hit in answer["hits"]] for answer in answers["answers"]] == [*map(rows, single)]


def test_a_url_of_the_service_is_its_row(service: TestClient) -> None:
    expected = rows(service.post("/v1/search", json={"rows": [9], "k": 5}))
    part = service.post("/v1/search", json={"rows": [9], "k": 1}).json()["hits"][0]["part"]
    for url in (
        "/v1/rows/9/image",
        "/v1/rows/9/thumbnail?size=256&gallery=g",
        f"http://127.0.0.1/v1/rows/9/image?part={part}",
    ):
        assert rows(service.post("/v1/search", json={"image": url, "k": 5})) == expected
    gone = service.post("/v1/search", json={"image": "/v1/rows/9/image?part=000000000000"})
    assert (gone.status_code, gone.json()["type"]) == (410, "urn:diantu:gone")
    other = service.post("/v1/search", json={"image": "http://127.0.0.1:81/v1/rows/9/image", "k": 5})
    assert (other.status_code, other.json()["type"]) == (403, "urn:diantu:forbidden")


def test_other_urls_are_fetched_only_where_allowed_and_public(root: Path) -> None:
    with client(root, allow_urls=True) as calling:
        for url in (
            "http://127.0.0.1:1/a.png",
            "http://169.254.169.254/latest",
            "http://[::1]/v1/rows/1",
            "http://a b/",
        ):
            answer = calling.post("/v1/search", json={"image": url})
            assert answer.status_code == 400, answer.text
            assert f"the image {url} cannot be downloaded" in answer.json()["detail"]


def test_numbers_that_json_does_not_have_are_null(service: TestClient) -> None:
    hits = service.post("/v1/search", json={"text": "a", "k": 60}).json()["hits"]
    assert {hit["zscore"] for hit in hits} == {None}
    assert len(hits) == 60


REFUSED = [
    ({}, "the query is empty; give a text, an image, a vector or rows to search for"),
    ({"text": " "}, "the text of the query is empty; say what to search for"),
    ({"text": "a", "gallery": "h"}, "the gallery 'h' is not served; give one of: g"),
    ({"text": "a", "colour": "red"}, "there is no field 'colour' in this request; see /openapi.json for its fields"),
    ({"text": "a", "k": "12"}, 'k is "12"; it should be a valid integer'),
    ({"text": "a", "k": 1001}, "k is 1001; this service gives at most 1000 hits"),
    ({"text": "a", "where": "nothing > 1"}, "nothing"),
    ({"vector": [0.0] * DIM}, "the vector is zero or not finite, so it has no direction; give another one"),
    ({"vector": [1.0]}, "the vector has shape 1; the gallery's encoder hf:x gives vectors of 8"),
    ({"rows": [60]}, "row 60 is not one of the gallery's rows, which are 0 to 59"),
    ({"rows": [-1]}, "rows.0"),
    ({"image": "!!"}, "an image is neither a URL nor base64"),
    ({"image": "AAAA"}, "the given bytes cannot be read: the bytes are no known image"),
    ({"image": "data:image/png,"}, "the given bytes cannot be read: the file has no bytes"),
    ({"image": "http://169.254.169.254/latest/meta-data"}, "this service does not download images from URLs"),
    ({"text": "a", "space": "dino"}, "the space 'dino' is not one of the gallery's, which are: hf:x"),
    ({"text": "a", "window": 5}, "window needs rerank, diversity, sort_by or aesthetic, and none of them is given"),
    ({"text": "a", "fold_duplicates": True}, "diantu dedup --gallery"),
    ({"texts": [{"text": "a", "weight": 0}]}, "a part of the query has the weight 0; give one above 0"),
]


@pytest.mark.parametrize(("given", "sentence"), REFUSED, ids=[str(given)[:40] for given, _ in REFUSED])
def test_what_cannot_be_used_is_refused_in_one_sentence(service: TestClient, given: Any, sentence: str) -> None:
    answer = service.post("/v1/search", json=given)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert 400 <= answer.status_code == problem["status"] < 500
    assert problem["instance"] == "/v1/search"
    assert sentence in problem["detail"]
    assert "\n" not in problem["detail"]


ODD = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"\xff\xfe{}",
    b'{"text": "a", "min_score": NaN}',
    b'{"text": "a", "min_score": 1e999}',
    b'{"text": "a", "k": 1' + b"0" * 5000 + b"}",
    b'{"text": "a", "k": 1' + b"0" * 300 + b"}",
    b'{"text": "a", "offset": 9223372036854775808}',
    b'{"rows": [18446744073709551616]}',
    b"[" * 100_000,
    b'{"text": ' * 5000 + b"1" + b"}" * 5000,
    b'{"text": "a", "k": true}',
    b'{"vector": [' + b"1," * 99_999 + b"1]}",
    b'{"text": "a", "aesthetic": 1' + b"0" * 400 + b"}",
]


@pytest.mark.parametrize("body", ODD, ids=[repr(body[:40]) for body in ODD])
def test_odd_json_is_refused_in_one_sentence(service: TestClient, body: bytes) -> None:
    answer = service.post("/v1/search", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:diantu:invalid"
    assert len(answer.json()["detail"]) < 400


def test_other_media_types_are_refused(service: TestClient) -> None:
    for kind in ("text/plain", "application/xml", "application/x-www-form-urlencoded"):
        answer = service.post("/v1/search", content=b'{"text": "a"}', headers={"content-type": kind})
        assert (answer.status_code, answer.json()["type"]) == (415, "urn:diantu:unsupported-media-type")
    assert service.post("/v1/search", content=b'{"text": "a"}').status_code == 200


FORMS = [
    ([("other", ("a.png", b"x"))], "there is no part 'other' in this form"),
    ([("image", (None, "text"))], "the part 'image' of the form is not a file"),
    ([("request", (None, "{")), ("image", ("a.png", b"x"))], "the body is not JSON"),
    ([("image", ("a.png", b""))], "the given bytes cannot be read: the file has no bytes"),
    ([("image", (f"{i}.png", b"x")) for i in range(100)], "Too many files"),
]


@pytest.mark.parametrize(("files", "sentence"), FORMS, ids=[sentence for _, sentence in FORMS])
def test_odd_forms_are_refused_in_one_sentence(service: TestClient, files: Any, sentence: str) -> None:
    answer = service.post("/v1/search", files=files)
    assert answer.status_code == 400
    assert sentence in answer.json()["detail"]


def test_a_broken_form_is_refused(service: TestClient) -> None:
    for kind in ("multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=x"):
        answer = service.post("/v1/search", content=b"--y\r\nno form", headers={"content-type": kind})
        assert answer.status_code == 400, (kind, answer.text)


def test_other_addresses_and_methods_have_problems_too(service: TestClient) -> None:
    missing = service.get("/v2/search")
    assert (missing.status_code, missing.json()["title"]) == (404, "Not found")
    method = service.get("/v1/search")
    assert (method.status_code, method.headers["allow"]) == (405, "POST")
    assert method.json()["detail"] == "GET is not possible at /v1/search; use POST"

"""`POST /v1/embeddings`: the vectors of the gallery's encoder, in the form of OpenAI's API."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from services import encoder_of

from diantu.search import Gallery


def test_texts(service: TestClient, root: Path) -> None:
    texts = ["大熊猫", "a castle"]
    expected_BD = Gallery.open(root, encoder=encoder_of(root)).encode_texts(texts)
    answer = service.post("/v1/embeddings", json={"model": "hf:x", "input": texts}).json()
    assert (answer["object"], answer["model"]) == ("list", "hf:x")
    assert [(one["object"], one["index"]) for one in answer["data"]] == [("embedding", 0), ("embedding", 1)]
    np.testing.assert_array_equal(np.array([one["embedding"] for one in answer["data"]], np.float32), expected_BD)
    one = service.post("/v1/embeddings", json={"model": "g", "input": "大熊猫", "encoding_format": "base64"}).json()
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(one["data"][0]["embedding"]), "<f4"), expected_BD[0])
    assert one["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


def test_images(service: TestClient, root: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 7), (200, 10, 30)).save(buffer, "PNG")
    items = [{"image": base64.b64encode(buffer.getvalue()).decode()}] * 2
    answer = service.post("/v1/embeddings", json={"model": "g", "input": items, "dimensions": 8}).json()
    expected_BD = Gallery.open(root, encoder=encoder_of(root)).encode_images([buffer.getvalue()] * 2)
    found = [one["embedding"] for one in answer["data"]]
    np.testing.assert_allclose(found, expected_BD, rtol=1e-6)


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"input": "a"}, 400, "the field 'model' is missing"),
    ({"model": "g"}, 400, "the field 'input' is missing"),
    ({"model": "gpt", "input": "a"}, 404, "the model 'gpt' is not known; give one of: hf:x, g"),
    ({"model": "g", "input": []}, 400, "at least 1 item"),
    ({"model": "g", "input": [1, 2]}, 400, "input.0 is 1"),
    ({"model": "g", "input": ["a"] * 257}, 400, "at most 256 items"),
    ({"model": "g", "input": "a", "dimensions": 4}, 400, "dimensions is 4; g gives vectors of 8"),
    ({"model": "g", "input": "  "}, 400, "has nothing that the encoder"),
    ({"model": "g", "input": [{"image": "AAAA"}]}, 400, "the given bytes cannot be read"),
]


@pytest.mark.parametrize(("given", "status", "sentence"), REFUSED, ids=[sentence for _, _, sentence in REFUSED])
def test_what_cannot_be_encoded(service: TestClient, given: Any, status: int, sentence: str) -> None:
    answer = service.post("/v1/embeddings", json=given)
    assert answer.status_code == status
    assert sentence in answer.json()["detail"]

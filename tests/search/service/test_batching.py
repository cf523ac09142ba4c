"""What arrives together is encoded together, and each caller gets its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from galleries import SPEC
from services import Colours, client, planted

from diantu.datasets import InputError
from diantu.indexing.encoders import TextEncoder
from diantu.indexing.encoders.spec import KnowsTexts
from diantu.indexing.store.manifest import read_manifest
from diantu.search.service.batching import Batches, SharedEncoders


class Sizes:
    """Encodes numbers; the first batch waits until it may go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.began, self.go_on = threading.Event(), threading.Event()

    def __call__(self, numbers: Sequence[int]) -> np.ndarray:
        self.batches.append(list(numbers))
        self.began.set()
        assert self.go_on.wait(20)
        if any(number < 0 for number in numbers):
            raise InputError(f"{numbers} has a negative number")
        return np.array(numbers, np.float32)[:, None]


@pytest.fixture
def encode() -> Sizes:
    return Sizes()


@pytest.fixture
def batches(encode: Sizes) -> Iterator[Batches[int]]:
    found = Batches(encode, lambda: 0, lambda size: None)
    yield found
    encode.go_on.set()
    found.close()


def test_what_comes_while_a_batch_runs_is_the_next_batch(encode: Sizes, batches: Batches[int]) -> None:
    with ThreadPoolExecutor(50) as pool:
        first = pool.submit(batches, [0])
        assert encode.began.wait(20)
        others = [pool.submit(batches, [number, 100 + number]) for number in range(1, 41)]
        while len(batches._asked) < 40:
            pass
        encode.go_on.set()
        assert first.result().tolist() == [[0.0]]
        for number, other in enumerate(others, start=1):
            assert other.result().tolist() == [[number], [100 + number]]
    assert [len(batch) for batch in encode.batches] == [1, 32, 32, 16]


def test_an_error_is_only_for_the_one_who_asked(encode: Sizes, batches: Batches[int]) -> None:
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(batches, [0])
        assert encode.began.wait(20)
        bad, good = pool.submit(batches, [-1]), pool.submit(batches, [5])
        while len(batches._asked) < 2:
            pass
        encode.go_on.set()
        assert good.result().tolist() == [[5.0]]
        with pytest.raises(InputError, match="negative"):
            bad.result()
        assert first.result().shape == (1, 1)


def test_more_than_a_batch_of_one_caller_is_cut(encode: Sizes, batches: Batches[int]) -> None:
    encode.go_on.set()
    assert batches(list(range(70))).ravel().tolist() == list(range(70))
    assert [len(batch) for batch in encode.batches] == [32, 32, 6]


def test_the_first_waits_for_those_who_are_expected(encode: Sizes) -> None:
    encode.go_on.set()
    waiting = Batches(encode, lambda: 2, lambda size: None)
    barrier = threading.Barrier(2)

    def ask(number: int) -> np.ndarray:
        barrier.wait()
        return waiting([number])

    with ThreadPoolExecutor(2) as pool:
        for _ in range(50):  # 3 ms are short where the machine is busy
            list(pool.map(ask, (1, 2)))
    waiting.close()
    assert max(map(len, encode.batches)) == 2


def test_a_wrapped_encoder_is_what_its_encoder_is() -> None:
    class Knowing(Colours):
        def knows(self, text: str) -> bool:
            return text != "?"

    class Images:
        spec, preprocess, encode_images = SPEC, Colours.preprocess, Colours.encode_images

    shared = SharedEncoders(lambda: 0, lambda size: None)
    images, texts, knowing = (shared.batched(each) for each in (Images(), Colours(SPEC), Knowing(SPEC)))  # type: ignore[arg-type]
    assert not isinstance(images, TextEncoder)
    assert isinstance(texts, TextEncoder)
    assert not isinstance(texts, KnowsTexts)
    assert isinstance(knowing, KnowsTexts)
    assert not knowing.knows("?")
    np.testing.assert_array_equal(texts.encode_texts(["a", "b"]), Colours(SPEC).encode_texts(["a", "b"]))
    shared.close()


def test_an_encoder_is_loaded_once_for_all_galleries(clip_folder: Path) -> None:
    shared = SharedEncoders(lambda: 0, lambda size: None)
    name = f"hf:{clip_folder}"
    first = shared(name, device="cpu")
    assert shared(name, device="cpu", named_by=clip_folder.parent / "gallery") is first
    with pytest.raises(InputError, match="came with the gallery"):
        shared(name, device="cpu", named_by=clip_folder.parent)
    with pytest.raises(InputError) as failed:
        shared("hf:/nowhere/at/all", device="cpu")
    with pytest.raises(InputError) as again:
        shared("hf:/nowhere/at/all", device="cpu")
    assert again.value is failed.value  # not tried again so soon
    shared.close()


def test_many_searches_at_a_time_are_encoded_in_batches(tmp_path: Path) -> None:
    root = planted(tmp_path / "g")
    texts = [f"文字 {number}" for number in range(48)]
    with client(root, Colours(read_manifest(root).spec)) as calling, ThreadPoolExecutor(16) as pool:

        def search(text: str) -> list[int]:
            answer = calling.post("/v1/search", json={"text": text, "k": 5})
            assert answer.status_code == 200, answer.text
            return [hit["row"] for hit in answer.json()["hits"]]

        together = list(pool.map(search, texts))
        assert together == [search(text) for text in texts]
        metrics = calling.get("/metrics").text
    assert "diantu_encode_batch_size_count" in metrics

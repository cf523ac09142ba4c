"""What users add without registering anything: an encoder that is a plain object, and an executor."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
import pytest
from histogram import COLOURS, Histogram, Inverting
from pictures import encoded, same_tree, write_tar
from PIL import Image

from diantu.datasets import InputError, find_shards
from diantu.indexing.build.job import build_index
from diantu.indexing.embed import Event, LoopSettings, ShardJob, embed, embed_with, run_jobs
from diantu.indexing.encoders import EncoderSpec, ImageEncoder, TextEncoder, preprocess
from diantu.indexing.measure.evaluate import evaluate
from diantu.search import Gallery


def write_colours(folder: Path) -> Path:
    """A tar per colour with three images of it, of which the last is half black."""
    for colour, rgb in COLOURS.items():
        members = []
        for i in range(3):
            image = Image.new("RGB", (40, 30), tuple(255 * value for value in rgb))
            image.paste((0, 0, 0), (0, 0, 40, 15) if i == 2 else (0, 0, 0, 0))
            members += [(f"{colour}{i}.png", encoded(image, "PNG")), (f"{colour}{i}.txt", colour.encode())]
        write_tar(folder / f"{colour}.tar", members)
    return folder


def test_a_custom_encoder_embeds_indexes_searches_and_is_evaluated(tmp_path: Path) -> None:
    encoder = Histogram()
    summary = embed(find_shards([str(write_colours(tmp_path / "s"))]), tmp_path / "g", encoder, texts=True)
    assert (summary.num_images, summary.num_failed) == (15, 0)
    build_index(tmp_path / "g", encoder)
    assert list((tmp_path / "g").rglob("index.faiss"))
    gallery = Gallery.open(tmp_path / "g", encoder=encoder)
    assert {hit.key for hit in gallery.search("blue", k=2)} == {"blue0", "blue1"}
    assert gallery.search("black yellow", k=1)[0].key == "yellow2"
    assert {hit.key for hit in gallery.search(image=Image.new("RGB", (9, 99), (0, 255, 0)), k=2)} == {
        "green0",
        "green1",
    }
    assert evaluate(tmp_path / "g", encoder)["retrieval"]


def test_a_custom_encoder_is_preprocessed_by_itself_in_workers_too(tmp_path: Path) -> None:
    source = write_colours(tmp_path / "s")
    shards = find_shards([str(source)])
    embed(shards, tmp_path / "upright", Histogram())
    for workers in (0, 1):
        embed(shards, tmp_path / f"inverted{workers}", Inverting(), num_workers=workers)
    assert same_tree(tmp_path / "inverted0", tmp_path / "inverted1")
    hits = Gallery.open(tmp_path / "inverted0", encoder=Inverting()).search("yellow", k=2)
    assert {hit.key for hit in hits} == {"blue0", "blue1"}
    assert not same_tree(tmp_path / "upright" / "img_emb", tmp_path / "inverted0" / "img_emb")


def test_preprocessing_that_cannot_be_sent_to_workers_is_refused(tmp_path: Path) -> None:
    encoder = Histogram()
    encoder.preprocess = lambda rgb_HWC: preprocess(rgb_HWC, encoder.spec)  # type: ignore[assignment]
    shards = find_shards([str(write_colours(tmp_path / "s"))])
    with pytest.raises(InputError, match="the preprocess of encoder histogram cannot be sent to worker processes"):
        embed(shards, tmp_path / "g", encoder, num_workers=1)
    assert embed(shards, tmp_path / "g", encoder).num_images == 15


@pytest.mark.parametrize(
    ("scale", "dim", "message"),
    [
        (2.0, 8, "histogram returned a vector of length 2; divide"),
        (1.0, 7, r"shape \(3, 7\) for 3 inputs; its spec.dim"),
    ],
)
def test_vectors_that_break_the_protocol_are_refused(tmp_path: Path, scale: float, dim: int, message: str) -> None:
    class Wrong(Histogram):
        def encode_images(self, pixels_BCHW) -> np.ndarray:
            return super().encode_images(pixels_BCHW)[:, :dim] * scale

    with pytest.raises(InputError, match=message):
        embed(find_shards([str(write_colours(tmp_path / "s"))]), tmp_path / "g", Wrong())


class Starting(Histogram):
    """As on a device that computes by itself; it notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def start_images(self, pixels_BCHW) -> Callable[[], np.ndarray]:
        number = sum(word == "start" for word, _ in map(str.split, self.asked))
        self.asked.append(f"start {number}")

        def vectors() -> np.ndarray:
            self.asked.append(f"take {number}")
            return super(Starting, self).encode_images(pixels_BCHW)

        return vectors


def test_an_encoder_is_given_the_next_batch_before_its_vectors_are_taken(tmp_path: Path) -> None:
    shards = find_shards([str(write_colours(tmp_path / "s"))])[:2]
    encoder = Starting()
    embed(shards, tmp_path / "started", encoder, batch_size=2)
    embed(shards, tmp_path / "waited", Histogram(), batch_size=2)
    assert encoder.asked == ["start 0", "start 1", "take 0", "start 2", "take 1", "start 3", "take 2", "take 3"]
    assert same_tree(tmp_path / "started", tmp_path / "waited")


def test_objects_that_are_not_encoders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="int cannot be used as an encoder; it must have spec, preprocess and"):
        embed([], tmp_path / "g", 3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no encoder was given"):
        embed([], tmp_path / "g", [])


def test_a_spec_has_defaults_that_count_like_stated_values() -> None:
    spec = Histogram().spec
    stated = EncoderSpec(
        name="histogram", weights="", weights_sha256="", dim=8, image_size=16, resize="squash", resize_size=16,
        interpolation="bicubic", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0),
    )  # fmt: skip
    assert (spec, spec.fingerprint, spec.slug) == (stated, stated.fingerprint, "histogram")
    assert EncoderSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert isinstance(Histogram(), ImageEncoder)
    assert isinstance(Histogram(), TextEncoder)


class InThread:
    """An executor: the loop runs in a thread, and its events arrive through a queue."""

    encodes_texts = True
    texts = False

    def __init__(self, encoder: ImageEncoder) -> None:
        self._encoder = encoder
        self.specs = [encoder.spec]

    def run(self, jobs: Sequence[ShardJob], gallery: Path) -> Generator[Event, None, None]:
        events: queue.Queue[Event | None] = queue.Queue()

        def work() -> None:
            for event in run_jobs(jobs, gallery, [self._encoder], LoopSettings(batch_size=2)):
                events.put(event)
            events.put(None)

        thread = threading.Thread(target=work)
        thread.start()
        yield from iter(events.get, None)
        thread.join()


def test_a_custom_executor_writes_the_same_gallery(tmp_path: Path) -> None:
    source = write_colours(tmp_path / "s")
    (source / "broken.tar").write_bytes(b"no tar")
    shards = find_shards([str(source)])
    done = embed_with(InThread(Histogram()), shards, tmp_path / "threaded")
    assert (done.num_images, len(done.quarantined)) == (15, 1)
    embed(shards, tmp_path / "plain", Histogram(), batch_size=2)
    assert same_tree(tmp_path / "threaded", tmp_path / "plain")

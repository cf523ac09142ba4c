"""Encodes together what arrives together: the texts, and the images, of requests that run at the same time.

A model encodes 16 texts in little more time than one, so this decides how many requests a machine can answer. One
thread runs each encoder: torch's threads would otherwise be started again for each thread that calls it.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from ...datasets import InputError
from ...indexing.encoders import EncoderSpec, ImageEncoder, Runtime, TextEncoder, load_encoder
from ...indexing.encoders.places import check_place
from ...indexing.encoders.spec import KnowsTexts, Resizable, Resizer

T = TypeVar("T")

MOST = 32  # texts or images that are encoded together
SECONDS = 0.003  # that the first of them waits for others
# An encoder that could not be loaded is not tried again before that, because trying may take seconds.
_RETRY_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked(Generic[T]):
    items: Sequence[T]
    vectors: Future[np.ndarray] = field(default_factory=Future)


class Batches(Generic[T]):
    """A thread that encodes for all others, in batches."""

    def __init__(
        self,
        encode: Callable[[Sequence[T]], np.ndarray],
        num_expected: Callable[[], int],
        observe: Callable[[int], None],
    ) -> None:
        """The thread starts with the first items.

        Args:
            encode: at most `MOST` items → `emb_BD`.
            num_expected: how many callers may still come; if there are no more than wait already, nobody is waited for.
            observe: is called with the size of each batch.
        """
        self._encode = encode
        self._num_expected = num_expected
        self._observe = observe
        self._asked: list[_Asked[T]] = []
        self._is_closed = False
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None

    def __call__(self, items: Sequence[T]) -> np.ndarray:
        """Encodes items with those of other threads: `emb_BD`. Raises what `encode` raises for them."""
        asked = _Asked(items=items)
        with self._change:
            if self._is_closed:
                raise InputError("the service is ending")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="encoder", daemon=True)
                self._thread.start()
            self._asked.append(asked)
            self._change.notify()
        return asked.vectors.result()

    def close(self) -> None:
        """Encodes what was asked for, then ends the thread."""
        with self._change:
            self._is_closed = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            self._answer(batch)

    def _next(self) -> list[_Asked[T]]:
        """What to encode next; nothing once it is closed."""
        with self._change:
            while not self._asked and not self._is_closed:
                self._change.wait()
            end = time.monotonic() + SECONDS
            while self._num_items() < MOST and len(self._asked) < self._num_expected() and not self._is_closed:
                if (left := end - time.monotonic()) <= 0:
                    break
                self._change.wait(left)
            count, num_items = 0, 0
            for asked in self._asked:  # at least one, and as many as fit
                num_items += len(asked.items)
                if count and num_items > MOST:
                    break
                count += 1
            batch, self._asked = self._asked[:count], self._asked[count:]
            return batch

    def _num_items(self) -> int:
        return sum(len(asked.items) for asked in self._asked)

    def _answer(self, batch: Sequence[_Asked[T]]) -> None:
        items = [item for asked in batch for item in asked.items]
        try:
            vectors = np.concatenate([self._encoded(items[at : at + MOST]) for at in range(0, len(items), MOST)])
        except Exception as error:
            if len(batch) == 1:
                batch[0].vectors.set_exception(error)
            else:  # what one of them asked must not fail the others
                for asked in batch:
                    self._answer([asked])
            return
        start = 0
        for asked in batch:
            asked.vectors.set_result(vectors[start : start + len(asked.items)])
            start += len(asked.items)

    def _encoded(self, items: Sequence[T]) -> np.ndarray:
        self._observe(len(items))
        return self._encode(items)


class BatchedImages:
    """An encoder whose images are encoded with those of other threads."""

    def __init__(self, encoder: ImageEncoder, **batching: Any) -> None:
        """`batching`: as `Batches` has it."""
        self._encoder = encoder
        self._images: Batches[Any] = Batches(self._encode_stack, **batching)

    @property
    def spec(self) -> EncoderSpec:
        """The description of the encoder."""
        return self._encoder.spec

    def with_resizer(self, resizer: Resizer) -> BatchedImages:
        """See `Resizable`. Its images are encoded with those of the other one: the model is the same."""
        if not isinstance(self._encoder, Resizable):
            return self
        other = copy.copy(self)
        other._encoder = self._encoder.with_resizer(resizer)
        return other

    def preprocess(self, rgb_HWC: np.ndarray) -> np.ndarray:
        """See `ImageEncoder.preprocess`."""
        return self._encoder.preprocess(rgb_HWC)

    def encode_images(self, pixels_BCHW: Any) -> np.ndarray:
        """See `ImageEncoder.encode_images`."""
        return self._images(list(pixels_BCHW))

    def close(self) -> None:
        """Ends the threads."""
        self._images.close()

    def _encode_stack(self, pixels: Sequence[Any]) -> np.ndarray:
        import torch

        return self._encoder.encode_images(torch.stack(list(pixels)))


class BatchedTexts(BatchedImages):
    """The same with a text side."""

    def __init__(self, encoder: Any, **batching: Any) -> None:
        super().__init__(encoder, **batching)
        self._texts: Batches[str] = Batches(lambda texts: encoder.encode_texts(list(texts)), **batching)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """See `TextEncoder.encode_texts`."""
        return self._texts(texts)

    def close(self) -> None:
        """Ends the threads."""
        self._texts.close()
        super().close()


class BatchedKnownTexts(BatchedTexts):
    """The same for an encoder that can say which texts it knows."""

    def knows(self, text: str) -> bool:
        """See `KnowsTexts.knows`."""
        assert isinstance(self._encoder, KnowsTexts)
        return self._encoder.knows(text)


class SharedEncoders:
    """Loads encoders for all galleries of a service, each once, and makes them encode in batches."""

    def __init__(self, num_expected: Callable[[], int], observe: Callable[[int], None]) -> None:
        """See `Batches`."""
        self._batching: dict[str, Any] = {"num_expected": num_expected, "observe": observe}
        self._loaded: dict[str, BatchedImages] = {}
        self._failed: dict[str, tuple[float, InputError]] = {}
        self._all: list[BatchedImages] = []
        self._lock = threading.Lock()

    def __call__(
        self, name: str, *, device: str = "auto", runtime: Runtime = "auto", named_by: Path | None = None
    ) -> ImageEncoder:
        """An encoder by its name, as `load_encoder` loads it.

        Raises:
            InputError: as `load_encoder`; for some seconds again without another try.
        """
        with self._lock:
            if named_by is not None:
                check_place(name, name.partition(":")[2], named_by)
            if name in self._loaded:
                return self._loaded[name]
            when, error = self._failed.get(name, (0.0, None))
            if error is not None and time.monotonic() < when + _RETRY_SECONDS:
                raise error
            try:
                loaded = load_encoder(name, device=device, runtime=runtime, named_by=named_by)
                self._loaded[name] = self.batched(loaded)
            except InputError as error:
                self._failed[name] = time.monotonic(), error
                raise
            return self._loaded[name]

    def batched(self, encoder: ImageEncoder) -> BatchedImages:
        """An encoder that is loaded already, made to encode in batches."""
        kind = BatchedImages
        if isinstance(encoder, TextEncoder):
            kind = BatchedKnownTexts if isinstance(encoder, KnowsTexts) else BatchedTexts
        found = kind(encoder, **self._batching)
        self._all.append(found)
        return found

    def close(self) -> None:
        """Ends all threads."""
        for encoder in self._all:
            encoder.close()

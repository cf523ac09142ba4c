"""What all routes share: the settings, the galleries, the pool and the metrics of one service."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from ...datasets import InputError, SampleError, display
from ...datasets.decoding import decode_guarded
from ...datasets.recent import Recent
from .batching import SharedEncoders
from .facets import FacetsOfVersions
from .metrics import Metrics
from .pool import Pool
from .served import Galleries, Opened
from .settings import Settings

T = TypeVar("T")
_MOST_DECODED = 4  # images that are decoded at the same time
_MOST_EXPORTS = 2  # downloads of many rows at the same time
_THUMBNAIL_BYTES = 64 << 20  # of memory for recent thumbnails: a few thousand


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What all routes share."""

    settings: Settings
    galleries: Galleries
    shared: SharedEncoders
    pool: Pool
    metrics: Metrics
    decoding: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_MOST_DECODED))
    thumbnails: Recent[Hashable, bytes] = field(default_factory=lambda: Recent(_THUMBNAIL_BYTES, len))
    facets: FacetsOfVersions = field(default_factory=FacetsOfVersions)
    exports: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_MOST_EXPORTS))

    def opened(self, name: str | None) -> Opened:
        """A served gallery as it is now; None is the first. Use one value for all of a request.

        Raises:
            ProblemError: 404 if no such gallery is served.
        """
        return self.galleries.opened(name)

    def decoded(self, data: bytes) -> np.ndarray:
        """Decodes an image of a request: `rgb_HWC` uint8. A few at a time, because an image may take much memory.

        Raises:
            InputError: if it cannot be decoded, or is too large.
        """
        with self.decoding, self.metrics.decode.time():
            try:
                return decode_guarded(data, seconds=self.settings.deadline).rgb_HWC
            except SampleError as error:
                raise InputError(f"the given bytes cannot be read: {error}") from error

    async def run(self, request: Request, function: Callable[..., T], *arguments: object) -> T:
        """Calls a function in the pool, within what is left of the request's deadline.

        Raises:
            ProblemError: 429 or 504.
        """
        began = request.scope.get("diantu.began", time.monotonic())
        left = max(self.pool.deadline - (time.monotonic() - began), 0.001)
        return await self.pool.run(function, *arguments, seconds=left)


def context_of(request: Request) -> Context:
    """The context of the service that a request came to."""
    return request.app.state.context


def json_response(value: Any, status: int = 200) -> Response:
    """A value as JSON; NaN and infinity become null."""
    return Response(json_bytes(value), status, media_type="application/json")


def json_bytes(value: Any) -> bytes:
    """A value as JSON in UTF-8; NaN and infinity become null."""
    text = display.to_json(value)
    if "NaN" in text or "Infinity" in text:  # perhaps only in a text
        text = display.to_json(_finite(value))
    return text.encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return value

"""The terms of a request as a `Query`."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

import numpy as np
from starlette.requests import Request

from ...datasets import InputError
from ...datasets.errors import PixelsError
from ..fetch import fetch
from ..pixels import read_pixels
from ..query import Query
from .bodies import Uploads
from .context import Context
from .models.searches import NegativeImage, Terms
from .problems import ProblemError
from .served import Opened

_OWN_PATH = re.compile(r"/v1/rows/(\d{1,19})/(?:image|thumbnail)")


def query_of(terms: Terms, uploads: Uploads, opened: Opened, context: Context, host: str) -> Query:
    """The query that a request asks; it may download images, so call it in a thread.

    Args:
        terms: the terms of the request.
        uploads: its files.
        opened: the gallery that is searched.
        context: of the service.
        host: what the client calls the service, as in the header `Host`.

    Raises:
        InputError: if an image cannot be used.
        ProblemError: if a URL is not allowed, or leads to a row that is gone.
    """

    def image(text: str) -> np.ndarray:
        return context.decoded(image_bytes(text, opened, context, host))

    rows: list[Any] = [_pair(term, "row") for term in terms.rows]
    images: list[Any] = [context.decoded(data) for data in uploads.images]
    for term in [*([] if terms.image is None else [terms.image]), *terms.images]:
        text, weight = (term, 1.0) if isinstance(term, str) else (term.image, term.weight)
        if (own := _own_row(text, host)) is not None and own.gallery in (None, opened.name):
            _refuse_other_part(own, opened)
            rows.append((own.row, weight))
        else:
            images.append((image(text), weight))
    negatives: list[Any] = [
        (image(term.image), term.weight) if isinstance(term, NegativeImage) else _pair(term, "text")
        for term in terms.negatives
    ]
    return Query(
        text=terms.text,
        vector=None if terms.vector is None else _vector(terms.vector),
        texts=[_pair(term, "text") for term in terms.texts],
        images=images,
        vectors=[
            _vector(term) if isinstance(term, list) else (_vector(term.vector), term.weight) for term in terms.vectors
        ],
        rows=rows,
        negatives=[*negatives, *(context.decoded(data) for data in uploads.negative_images)],
    )


def _vector(values: list[float]) -> np.ndarray:
    with np.errstate(over="ignore"):  # the search says that it is not finite
        return np.array(values, np.float32)


def image_bytes(text: str, opened: Opened, context: Context, host: str) -> bytes:
    """The bytes of an image that a request gives as text: base64, a `data:` URL, or a URL.

    Raises:
        InputError: if it is none of that, or cannot be read.
        ProblemError: if a URL is not allowed, or leads to a row that is gone.
    """
    try:
        return _image_bytes(text, opened, context, host)
    except PixelsError as error:
        raise InputError(str(error)) from error


def _image_bytes(text: str, opened: Opened, context: Context, host: str) -> bytes:
    if (own := _own_row(text, host)) is not None:
        other = opened if own.gallery in (None, opened.name) else context.opened(own.gallery)
        _refuse_other_part(own, other)
        return read_pixels(other.gallery.rows([own.row])[0])
    if text[:8].lower().startswith(("http://", "https://")):
        if not context.settings.allow_urls:
            raise ProblemError(
                403, "this service does not download images from URLs (diantu serve --allow-urls); send the image"
            )
        return fetch(text)
    if text[:5].lower() == "data:":
        about, comma, text = text[5:].partition(",")
        if not comma:
            raise InputError("the data: URL of an image has no comma; send data:image/jpeg;base64,…")
        if not about.lower().endswith(";base64"):
            return unquote_to_bytes(text)
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"an image is neither a URL nor base64 ({error}); send base64 of the file's bytes") from error


@dataclass(frozen=True, slots=True)
class _OwnRow:
    """A URL of the service's own: a row of one of its galleries."""

    row: int
    gallery: str | None
    part: str | None


def _own_row(text: str, host: str) -> _OwnRow | None:
    """The row that a URL of the service itself leads to; None for everything else."""
    if len(text) > 2000 or not text.startswith(("/v1/rows/", "http://", "https://")):
        return None
    try:
        url = urlsplit(text)
    except ValueError:
        return None
    if (url.netloc and url.netloc != host) or not (found := _OWN_PATH.fullmatch(url.path)):
        return None
    named = parse_qs(url.query)
    gallery, part = (named.get(name, [None])[0] for name in ("gallery", "part"))
    return _OwnRow(int(found[1]), gallery, part)


def _refuse_other_part(own: _OwnRow, opened: Opened) -> None:
    if own.part is None or own.row >= opened.snapshot.num_rows:
        return  # a row that does not exist is refused by the search
    if opened.parts([own.row]) != [own.part]:
        raise ProblemError(410, f"row {own.row} has another image now, because the gallery was compacted; search again")


def _pair(term: Any, name: str) -> Any:
    """A term as `Query` takes it: alone, or with its weight."""
    return (getattr(term, name), term.weight) if hasattr(term, name) else term


def host_of(request: Request) -> str:
    """What the client calls the service."""
    return request.headers.get("host", "")

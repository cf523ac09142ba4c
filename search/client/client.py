"""A gallery that a service serves, with the interface of `Gallery`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import numpy as np

from ...datasets import InputError
from ..answer import NEEDED
from ..hits import Hits
from ..options import Options, SearchOptions
from ..query import ImageQuery, Query, many_queries, one_query
from . import wire
from .transport import Transport

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

T = TypeVar("T")
# What one request may have.
_MOST_QUERIES, _MOST_ROWS = 64, 1000


class Client:
    """A gallery that `diantu serve` serves: code that searches a `Gallery` works with a `Client`.

    Any number of threads may use one client. Images of queries are sent; images of hits are fetched from the service
    when they are asked for. The service follows changes of its gallery by itself.

        with Client("http://127.0.0.1:8000") as gallery:
            hits = gallery.search("大熊猫", k=5)
            hits[0].image().save("panda.png")

    What JSON does not know arrives in another form: dates and times of the metadata as texts in ISO 8601, NaN as None.

    Attributes:
        url: the service's address.
    """

    def __init__(
        self, url: str, *, token: str | None = None, gallery: str | None = None, timeout: float = 60.0
    ) -> None:
        """Prepares connections; nothing is sent yet.

        Args:
            url: the address that `diantu serve` prints, such as `http://127.0.0.1:8000`.
            token: the token of the service, if it asks for one.
            gallery: the name of one of its galleries; by default the first.
            timeout: seconds to wait for a connection, and for the service to begin or to continue its answer.

        Raises:
            InputError: if httpx is not installed, or the address or the token cannot be used.
        """
        if not timeout > 0:
            raise InputError(f"timeout is {timeout}; give a number of seconds above 0")
        self._transport = Transport(url, token, timeout)
        self._gallery = gallery
        self._columns: tuple[str, list[str]] = "", []  # of the version that answered last

    @property
    def url(self) -> str:
        """The service's address."""
        return self._transport.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections. Images of hits cannot be fetched any more."""
        self._transport.close()

    def __len__(self) -> int:
        return self._about()["rows"]

    @property
    def spaces(self) -> list[str]:
        """The names of all encoders whose vectors the rows have, the main one first."""
        return [space["name"] for space in self._about()["spaces"]]

    @property
    def columns(self) -> list[str]:
        """The columns of the metadata, and other names for them that a condition can use."""
        return self._about()["names"]

    def search(
        self,
        query: str | Query | None = None,
        *,
        image: ImageQuery | None = None,
        vector: np.ndarray | None = None,
        **options: Unpack[SearchOptions],
    ) -> Hits:
        """The rows of the gallery that are most similar to a text, an image, a vector or a mix of them.

        Args:
            query: a text, or a `Query` of several parts.
            image: a path, encoded bytes, a PIL image, or `rgb_HWC` uint8; with a text, the two are mixed.
            vector: of the space's encoder, `emb_D`.
            options: those of `Gallery.search`.

        Raises:
            InputError: if the query, the condition or an option cannot be used, or the service refuses the request.
            ServiceError: if the service cannot be reached, stays busy, or takes too long.
        """
        checked = Options(**options)
        parts = one_query(query, image, vector).parts()
        answer = self._transport.post("/v1/search", {**self._named(checked), **wire.terms(parts)})
        return wire.hits(answer, parts, checked, self._names(answer), self._transport)

    def search_many(self, queries: Sequence[str | Query], **options: Unpack[SearchOptions]) -> list[Hits]:
        """Answers several queries at once, 64 in a request; the options are those of `Gallery.search`.

        Raises:
            InputError: as `search`.
            ServiceError: as `search`.
        """
        checked = Options(**options)
        asked = [query.parts() for query in many_queries(queries)]
        found: list[Hits] = []
        for some in _chunks(asked, _MOST_QUERIES):
            body = {**self._named(checked), "queries": [wire.terms(parts) for parts in some]}
            answers = self._transport.post("/v1/search/batch", body)["answers"]
            for parts, answer in zip(some, answers, strict=True):
                found.append(wire.hits(answer, parts, checked, self._names(answer), self._transport))
        return found

    def rows(self, rows: Sequence[int] | np.ndarray, *, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The metadata of some rows, in the order given, 1000 in a request.

        Args:
            rows: row ids.
            columns: the columns to read, by their own names or by other names that `columns` lists; by default all.

        Raises:
            InputError: if a row is not one of the gallery's or is deleted, or there is no such column.
            ServiceError: as `search`.
        """
        found: list[dict[str, Any]] = []
        for some in _chunks(np.asarray(rows, np.int64).reshape(-1).tolist(), _MOST_ROWS):
            body = {"gallery": self._gallery, "rows": some, "columns": None if columns is None else list(columns)}
            answer = self._transport.post("/v1/rows", body)
            names = [name for name in self._names(answer) if wire.is_shown(name, columns)]
            found += [wire.record(row, names) for row in answer["rows"]]
        # What answers always have may not be what was asked for.
        unasked = {name for name in NEEDED if not wire.is_shown(name, columns)}
        return [{name: value for name, value in record.items() if name not in unasked} for record in found]

    def _named(self, options: Options) -> dict[str, Any]:
        return {"gallery": self._gallery, **wire.changed(options)}

    def _about(self) -> dict[str, Any]:
        """What the service says about the gallery."""
        if self._gallery is not None:
            return self._transport.get(f"/v1/galleries/{quote(self._gallery, safe='')}")
        return self._transport.get("/v1/galleries")["galleries"][0]

    def _names(self, answer: dict[str, Any]) -> list[str]:
        """The columns of the version that gave an answer."""
        version, names = self._columns
        if version != answer["version"]:
            about = self._about()
            names = [column["name"] for column in about["columns"]]
            self._columns = about["version"], names
        return names


def _chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]

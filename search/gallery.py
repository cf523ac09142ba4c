"""A gallery, opened for search.

Shapes: Q queries, K results, D dimension; H, W, C of a picture.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from ..datasets import InputError, SampleError, decode
from ..indexing.duplicates import Duplicates, read_duplicates
from ..indexing.encoders import ImageEncoder, TextEncoder, load_encoder
from ..indexing.encoders.spec import EncoderSpec
from ..indexing.index import Effort, GalleryIndex
from ..indexing.manifest import read_manifest, refuse_other
from .hits import Hit, Hits, Query
from .metadata import Metadata

ImageQuery: TypeAlias = "str | Path | bytes | Image.Image | np.ndarray"


class Gallery:
    """Answers queries. Open it once and search it often; it keeps the version that it was opened on.

    Attributes:
        path: the gallery's folder.
        duplicates: its near-duplicates; None where `diantu dedup` has not looked for them.
    """

    def __init__(self, path: str | Path, *, encoder: str | ImageEncoder | None = None, device: str = "auto") -> None:
        """Opens a gallery; see `Gallery.open`."""
        self.path = Path(path)
        manifest = read_manifest(self.path)
        self._spec = manifest.spec
        self._index = GalleryIndex.open(self.path, manifest)
        self.duplicates = read_duplicates(self.path)
        self._metadata = Metadata(self.path, manifest, self.duplicates)
        self._given = encoder if encoder is not None else manifest.spec.name
        self._device = device
        self._encoder: ImageEncoder | None = None
        self._loading = threading.Lock()

    @classmethod
    def open(cls, path: str | Path, *, encoder: str | ImageEncoder | None = None, device: str = "auto") -> Gallery:
        """Opens a gallery; its encoder is loaded when the first text or picture is asked for.

        Everything else is read when it is needed. The first search reads the codes of an index that FAISS cannot map:
        some 150 bytes a row.

        Args:
            path: the gallery's folder.
            encoder: the encoder for queries, where it is not found under the name that the gallery has noted (say, its
                weights lie in another folder here), or one that is already loaded.
            device: where a loaded encoder runs; `auto` is the first GPU, else the CPU.

        Raises:
            InputError: if there is no gallery.
        """
        return cls(path, encoder=encoder, device=device)

    def __len__(self) -> int:
        return self._index.num_rows

    @property
    def spec(self) -> EncoderSpec:
        """The encoder that the gallery was made with."""
        return self._spec

    @property
    def num_unexamined(self) -> int:
        """Rows that `diantu dedup` has not seen, since they were added later."""
        examined = self.duplicates.num_rows if self.duplicates is not None else 0
        return max(len(self._index.vectors) - examined, 0)

    @property
    def encoder(self) -> ImageEncoder:
        """The encoder for queries, loaded now if it was not.

        Raises:
            InputError: if it cannot be loaded or is not the one that the gallery was made with.
        """
        with self._loading:
            if self._encoder is None:
                given = self._given
                loaded = load_encoder(given, device=self._device) if isinstance(given, str) else given
                refuse_other(self._spec, loaded.spec, self.path)
                self._encoder = loaded
            return self._encoder

    def search(
        self,
        text: str | None = None,
        *,
        image: ImageQuery | None = None,
        vector: np.ndarray | None = None,
        k: int = 12,
        effort: Effort = "balanced",
        fold_duplicates: bool = False,
    ) -> Hits:
        """The k rows of the gallery that are most like a text, a picture or a vector; exactly one of them is given.

        Args:
            text: in any language that the encoder knows.
            image: a path, encoded bytes, a PIL picture, or `rgb_HWC` uint8.
            vector: of the gallery's encoder, `emb_D`; it is scaled to length 1.
            k: how many hits; a gallery of fewer rows gives them all.
            effort: `fast`, `balanced`, `exact` (every row is compared), or the share of the exact results that is to
                be found, up to 1: the index was tuned for several; see `diantu index`.
            fold_duplicates: of each group of near-duplicates give only the row that answers best; `Hit.folded` says how
                many others the group has.

        Raises:
            InputError: if not exactly one query is given, or it cannot be used with this gallery; or duplicates are to
                be folded that nobody has looked for.
        """
        if sum(part is not None for part in (text, image, vector)) != 1:
            raise InputError("a search takes exactly one of: a text, an image, a vector")
        if k < 1:
            raise InputError(f"k is {k}; at least 1 hit must be asked for")
        if fold_duplicates and self.duplicates is None:
            raise InputError(
                f"the near-duplicates in {self.path} are not known; find them with: diantu dedup --gallery {self.path}"
            )
        if vector is None:
            _ = self.encoder  # loading it is not what the search takes
        started = time.perf_counter()
        query, emb_D = self._encode(text, image, vector)
        fold = self.duplicates if fold_duplicates else None
        scores_K, rows_K = self._nearest(emb_D, k, effort, query.kind, fold)
        folded_K = fold.num_others(rows_K) if fold is not None else np.zeros_like(rows_K)
        records = self._metadata.rows(rows_K)
        calibration = self._calibration(query.kind)
        hits = tuple(
            Hit(
                row=int(row),
                rank=rank,
                score=float(score),
                zscore=(float(score) - calibration["mean"]) / calibration["std"] if calibration else None,
                key=record["key"],
                caption=record["caption"],
                metadata=record,
                folded=int(folded),
            )
            for rank, (row, score, record, folded) in enumerate(
                zip(rows_K, scores_K, records, folded_K, strict=True), start=1
            )
        )
        took_ms = 1000 * (time.perf_counter() - started)
        return Hits(query=query, hits=hits, took_ms=took_ms, folding=fold_duplicates)

    def _nearest(
        self, emb_D: np.ndarray, k: int, effort: Effort, kind: str, fold: Duplicates | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best rows, or with `fold` the best row of each of the k best groups: `scores_K` and `rows_K`."""
        depth = k
        while True:
            (scores_K,), (rows_K,) = self._index.search(emb_D[None], depth, effort=effort, kind=kind)
            if fold is None:
                return scores_K, rows_K
            best_K = np.sort(np.unique(fold.representatives(rows_K), return_index=True)[1])[:k]
            if len(best_K) == k or len(rows_K) < depth:  # enough groups, or there are no further rows
                return scores_K[best_K], rows_K[best_K]
            depth *= 4

    def _encode(
        self, text: str | None, image: ImageQuery | None, vector: np.ndarray | None
    ) -> tuple[Query, np.ndarray]:
        if text is not None:
            return Query(kind="text", label=text), self._encode_text(text)
        if image is not None:
            rgb_HWC, label = _pixels(image)
            query = Query(kind="image", label=label, image=Image.fromarray(rgb_HWC))
            return query, self._encode_image(rgb_HWC)
        assert vector is not None
        return Query(kind="vector", label=f"{np.size(vector)} dimensions"), self._check_vector(vector)

    def _encode_text(self, text: str) -> np.ndarray:
        if not text.strip():
            raise InputError("the text of the query is empty; say what to look for")
        encoder = self.encoder
        if not isinstance(encoder, TextEncoder):
            raise InputError(f"the gallery's encoder {self._spec.name} has no text side; search by image or vector")
        return encoder.encode_texts([text])[0]

    def _encode_image(self, rgb_HWC: np.ndarray) -> np.ndarray:
        import torch

        pixels_CHW = self.encoder.preprocess(rgb_HWC)
        return self.encoder.encode_images(torch.from_numpy(pixels_CHW[None]))[0]

    def _check_vector(self, vector: np.ndarray) -> np.ndarray:
        emb_D = np.asarray(vector, np.float32)
        if emb_D.shape != (self._spec.dim,):
            given = "×".join(map(str, emb_D.shape))
            raise InputError(
                f"the vector has shape {given or 'of a single number'}; the gallery's encoder {self._spec.name} gives "
                f"vectors of {self._spec.dim}"
            )
        length = float(np.linalg.norm(emb_D))
        if not np.isfinite(length) or length == 0:
            raise InputError("the vector is zero or not finite; it points nowhere")
        return emb_D / length

    def _calibration(self, kind: str) -> dict[str, Any] | None:
        """The scores of random pairs with queries of this kind; a vector's kind is not known, so it has none."""
        found = (self._index.report or {}).get("calibration", {}).get(kind)
        return found if found and found["std"] > 0 else None


def _pixels(image: ImageQuery) -> tuple[np.ndarray, str]:
    """A picture in any of its forms → `rgb_HWC` uint8 and a label for it."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise InputError(
                f"the picture is an array of {image.dtype} {image.shape}; give uint8 of height × width × 3"
            )
        return image, "array"
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB")), "picture"
    try:
        if isinstance(image, bytes):
            return decode(image), "bytes"
        return decode(Path(image).read_bytes()), Path(image).name
    except (OSError, SampleError) as error:
        name = "the given bytes" if isinstance(image, bytes) else f"the picture {image}"
        raise InputError(f"{name} cannot be read: {error}") from error

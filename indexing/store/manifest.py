"""`gallery.json`: the encoders of a gallery, and the ordered list of its parts, which defines the row ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ...datasets import checksums
from ...datasets.errors import InputError
from ...datasets.files import TEMPORARY, json_bytes
from ..encoders.spec import EncoderSpec, ImageEncoder, Resizable
from .layout import ADDED, JOB_LOCK, MANIFEST
from .records import read_part

FORMAT = "diantu-gallery"
VERSION = 1
# What a job leaves in a new folder if it is killed before the gallery exists.
_BEFORE_GALLERY = (JOB_LOCK, f"gallery.json{TEMPORARY}", ADDED, *checksums.LEFT_BEHIND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A gallery's encoders and parts. Row ids count through the list of parts, which only grows."""

    encoders: tuple[EncoderSpec, ...]  # of the main space, then of the further ones
    texts: bool = False  # whether captions are embedded as well
    parts: tuple[tuple[int, int], ...] = ()  # (number, rows), in the order of numbers
    has_checksums: bool = True  # False in a gallery of an earlier release, which began without `checksums.json`
    # The number of rows up to the end of each part: searches ask for it, and there may be a million parts.
    _ends: np.ndarray = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ends", np.cumsum([rows for _, rows in self.parts], dtype=np.int64))

    @property
    def num_rows(self) -> int:
        """Rows of all parts."""
        return int(self._ends[-1]) if self.parts else 0

    @property
    def spec(self) -> EncoderSpec:
        """The encoder of the gallery's main space."""
        return self.encoders[0]

    def locate(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row ids → which part (a position in `parts`), and the row within it; both int64, of the same shape.

        Raises:
            IndexError: if a row id is not one of this gallery's. (−1 pads short results of a search: drop it first.)
        """
        if rows.size and not (rows.min() >= 0 and rows.max() < self.num_rows):
            raise IndexError(f"rows {rows.min()} to {rows.max()} requested, the gallery has 0 to {self.num_rows - 1}")
        positions = np.searchsorted(self._ends, rows, side="right")
        return positions, rows - np.concatenate([[0], self._ends])[positions]

    def save(self, root: Path) -> None:
        """Writes `gallery.json`."""
        spaces = [{"name": spec.slug, "encoder": spec.to_json()} for spec in self.encoders]
        optional = {"texts": "captions"} if self.texts else {}
        optional |= {"checksums": True} if self.has_checksums else {}
        fields = {"format": FORMAT, "version": VERSION, "spaces": spaces, **optional, "parts": []}
        data = json_bytes(fields)
        if self.parts:
            # As `json` writes them, which takes twenty times as long: there may be a million.
            parts = ",\n".join(f'  {{\n   "part": {number},\n   "rows": {rows}\n  }}' for number, rows in self.parts)
            data = data.removesuffix(b"[]\n}\n") + f"[\n{parts}\n ]\n}}\n".encode()
        checksums.write_checked(root, MANIFEST, data)

    def with_committed(self, root: Path) -> Manifest:
        """The manifest with the parts committed since, up to the first number that has no commit record.

        A quarantined part is listed with no rows, so that the parts after it can be listed.
        """
        parts = list(self.parts)
        while (part := read_part(root, parts[-1][0] + 1 if parts else 0)) is not None:
            parts.append((part.number, part.num_rows))
        return replace(self, parts=tuple(parts))


def read_manifest(root: Path) -> Manifest:
    """Reads a gallery's manifest.

    Raises:
        InputError: if there is no gallery, or one of another format or a newer version.
    """
    path = root / "gallery.json"
    if not path.is_file():
        raise InputError(
            f"there is no gallery at {root} (no gallery.json); create one with: diantu embed --output {root}"
        )
    try:
        fields = json.loads(checksums.read_checked(root, MANIFEST).decode("utf-8"))
        if fields["format"] != FORMAT or fields["version"] > VERSION:
            raise InputError(
                f"{path} is of format {fields['format']} {fields['version']}, this diantu reads {FORMAT} up to "
                f"{VERSION}: install a newer version"
            )
        encoders = tuple(EncoderSpec.from_json(space["encoder"]) for space in fields["spaces"])
        parts = tuple((part["part"], part["rows"]) for part in fields["parts"])
        if not encoders or not all(type(value) is int and value >= 0 for part in parts for value in part):
            raise ValueError("it has no encoder, or a part has no number of rows")
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{checksums.damage(path, error)}; restore it from a copy, or embed again") from error
    return Manifest(
        encoders=encoders, texts=fields.get("texts") is not None, parts=parts, has_checksums="checksums" in fields
    )


def open_or_create(root: Path, specs: Sequence[EncoderSpec], *, texts: bool = False) -> Manifest:
    """The manifest of a gallery that a job adds to. Creates the gallery if there is none, and adds further encoders.

    Args:
        root: the gallery's folder.
        specs: the job's encoders, the main space's first.
        texts: whether the job embeds captions.

    Raises:
        InputError: if the gallery was made with other encoders or settings, or the folder contains something else.
    """
    if not (root / "gallery.json").exists():
        return _create(root, specs, texts=texts)
    manifest = read_manifest(root)
    specs = [spec.resized_as(manifest.encoders) for spec in specs]  # a gallery keeps its resizer, see `own_encoder`
    _refuse_incompatible(manifest, specs, root, texts=texts)
    return _with_further_encoders(manifest, specs, root)


def _create(root: Path, specs: Sequence[EncoderSpec], *, texts: bool) -> Manifest:
    if root.exists() and any(path.name not in _BEFORE_GALLERY for path in root.iterdir()):
        raise InputError(f"{root} is not empty and not a gallery; give a new folder, or the folder of a gallery")
    manifest = Manifest(encoders=tuple(specs), texts=texts)
    manifest.save(root)
    return manifest


def _refuse_incompatible(manifest: Manifest, specs: Sequence[EncoderSpec], root: Path, *, texts: bool) -> None:
    """Checks that a job has the gallery's main encoder, all its further ones, and the same setting for captions."""
    refuse_other(manifest.spec, specs[0], root)
    if manifest.texts != texts:
        has, asks = ("with" if value else "without" for value in (manifest.texts, texts))
        raise InputError(
            f"the gallery {root} was made {has} --texts captions, this job is {asks}: use the same for both"
        )
    given = {spec.fingerprint for spec in specs}
    missing = [spec.name for spec in manifest.encoders if spec.fingerprint not in given]
    if missing:
        asked, needed = ", ".join(spec.name for spec in specs), ", ".join(missing)
        raise InputError(
            f"the gallery {root} also has vectors of {needed}, this job gives only {asked}: name them all, so that "
            "every space has the same rows"
        )


def _with_further_encoders(manifest: Manifest, specs: Sequence[EncoderSpec], root: Path) -> Manifest:
    """The manifest with the encoders that it does not have yet, saved if there are any."""
    known = {spec.fingerprint for spec in manifest.encoders}
    further = tuple(spec for spec in specs if spec.fingerprint not in known)
    slugs = {spec.slug: spec.name for spec in manifest.encoders}
    for spec in further:
        if spec.slug in slugs:
            raise InputError(
                f"{spec.name} would share the folder {spec.slug} with {slugs[spec.slug]}, which the gallery {root} "
                "has; rename the folder of its weights"
            )
    if not further:
        return manifest
    manifest = replace(manifest, encoders=(*manifest.encoders, *further))
    manifest.save(root)
    return manifest


def own_encoder(theirs: EncoderSpec, encoder: ImageEncoder, root: Path) -> ImageEncoder:
    """An encoder as a gallery uses it: if it differs from the gallery's only in the resizer, it gets that one.

    Raises:
        InputError: if it gives other vectors than the gallery's encoder.
    """
    if isinstance(encoder, Resizable) and encoder.spec.resized_as([theirs]) != encoder.spec:
        encoder = encoder.with_resizer(theirs.resizer)
    refuse_other(theirs, encoder.spec, root)
    return encoder


def refuse_other(theirs: EncoderSpec, given: EncoderSpec, root: Path) -> None:
    """Checks that an encoder gives the same vectors as the gallery's, by fingerprint.

    Raises:
        InputError: if it does not, with both encoders in the message.
    """
    if theirs.fingerprint != given.fingerprint:
        made, other = (f"{s.name} ({s.dim} dimensions, fingerprint {s.fingerprint})" for s in (theirs, given))
        raise InputError(
            f"the gallery {root} was made with {made}, not with {other}: use the same encoder, or another gallery"
        )

"""Imports vectors and metadata that other tools computed: the public name of `upkeep.importing`."""

from __future__ import annotations

from .upkeep.importing import Imported, import_vectors

__all__ = ["Imported", "import_vectors"]

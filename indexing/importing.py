"""The import path of the first release for `import_vectors`; programs that use it go on working."""

from __future__ import annotations

from .upkeep.importing import Imported, import_vectors

__all__ = ["Imported", "import_vectors"]

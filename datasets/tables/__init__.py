"""Tables of captions beside images: found in the folders of a source, read, and joined to images by their names."""

from .finding import choose_tables
from .lookup import Lookup
from .matching import FoldedNames
from .reading import Row, Table, read_table

__all__ = ["FoldedNames", "Lookup", "Row", "Table", "choose_tables", "read_table"]

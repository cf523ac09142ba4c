"""A gallery on disk: layout, parts, ledger, manifest, tombstones, vectors, metadata, columns and filters."""

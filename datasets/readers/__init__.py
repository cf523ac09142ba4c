"""Readers: one module per container (tars, folders, parquet). `formats` is the table of them."""

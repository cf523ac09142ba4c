"""Readers: one module per container (tars, folders, parquet files). `formats` is the table of them."""

"""Parts of the benchmarks: synthetic vectors, processes of engines, and tables of results."""

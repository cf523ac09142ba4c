"""A folder that Python runs by its path: one engine of `bench_index` in a process of its own. See `__main__`."""

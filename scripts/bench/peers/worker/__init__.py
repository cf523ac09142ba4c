"""One engine of `bench_index`: what it builds, how it searches, and how both are measured.

Imports nothing of diantu, except in the engine `diantu`; imports between these modules are relative.

Shapes: N rows, Q queries, D dimension, K results.
"""

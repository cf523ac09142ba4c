"""Measure an index: queries, an exact oracle, evaluation, plots."""

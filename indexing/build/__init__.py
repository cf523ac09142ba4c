"""Builds an index: plan, train, tune, and fold new rows in."""

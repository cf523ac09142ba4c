"""Pixels to parts, parts to an index."""

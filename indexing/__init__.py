"""Pixels to vectors, vectors to an index."""

"""Upkeep of a gallery: import, delete, compact, find near-duplicates."""

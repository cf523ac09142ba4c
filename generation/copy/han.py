"""Tells which characters are Chinese, and which are wide."""

from __future__ import annotations


def is_han(char: str) -> bool:
    """Returns whether a character is an ideograph."""
    return "\u4e00" <= char <= "\u9fff" or "\u3400" <= char <= "\u4dbf" or "\U00020000" <= char <= "\U0003ffff"


def is_wide(char: str) -> bool:
    """Returns whether a character is one em wide: ideographs and their punctuation."""
    return is_han(char) or "\u3000" <= char <= "\u30ff" or "\uff00" <= char <= "\uff60" or char in "“”‘’…—"

"""Bytes that people or tools wrote → text."""

from __future__ import annotations


def decode_text(raw: bytes) -> str:
    """UTF-8 (with or without a mark), else GB 18030, as Chinese Windows writes, else with marks for what is neither."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "replace")

"""Bytes of text files → text, whatever their encoding."""

from __future__ import annotations


def decode_text(raw: bytes) -> str:
    """Decodes UTF-8 (with or without a byte order mark), else GB 18030, which Chinese Windows writes.

    Bytes that are neither become replacement characters.
    """
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "replace")


def decode_name(raw: bytes) -> str:
    """Decodes the name of a file in an archive: UTF-8, else GB 18030, else with U+FFFD.

    Names become the keys of rows, so this rule must not change.
    """
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "replace")

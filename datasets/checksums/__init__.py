"""`checksums.json`: size and SHA-256 of every file of a folder that jobs replace, so that damage is noticed.

A file and its checksum cannot change in one step. So the new checksum is written first, beside that of the file that it
replaces; then the file is replaced; then the old checksum is removed. A kill in between leaves two checksums, and the
file has one of them. The next job removes the other one.

A JSON file that is written once carries its own checksum in its last line: it is sealed.
"""

from __future__ import annotations

from .reading import ACCEPT, LEFT_BEHIND, LOCK, NAME, SMALL, listed, open_checked, read_checked, read_entries
from .seals import line_seal, sealed, unsealed
from .values import Checksum, DamagedError, Entry, damage
from .verifying import Problems, verify
from .writing import accept, announced, recording, settle, write_checked, write_checked_json

__all__ = [
    "ACCEPT",
    "LEFT_BEHIND",
    "LOCK",
    "NAME",
    "SMALL",
    "Checksum",
    "DamagedError",
    "Entry",
    "Problems",
    "accept",
    "announced",
    "damage",
    "line_seal",
    "listed",
    "open_checked",
    "read_checked",
    "read_entries",
    "recording",
    "sealed",
    "settle",
    "unsealed",
    "verify",
    "write_checked",
    "write_checked_json",
]

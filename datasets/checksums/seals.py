"""JSON that carries its own checksum: files in their last line, lines of a file at their end."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

from .values import DamagedError

_SEAL = re.compile(rb',\n "checksum": "([0-9a-f]{64})"\n\}\n\Z')


def sealed(values: Mapping[str, Any]) -> bytes:
    """Values as indented JSON, with one more field at the end: the SHA-256 of all bytes before that field."""
    body = json.dumps(values, indent=1, ensure_ascii=False).removesuffix("\n}").encode()
    return body + b',\n "checksum": "' + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


def line_seal(body: bytes) -> bytes:
    """What ends a line of JSON: a tab and the CRC-32 of the bytes before it, 10 bytes with the line break."""
    return b"\t%08x\n" % zlib.crc32(body)


def unsealed(data: bytes) -> tuple[dict[str, Any], bool]:
    """Inverse of `sealed`, and whether there was a checksum: files of earlier releases have none.

    Raises:
        ValueError: if the checksum does not fit, or the data is not a JSON object.
    """
    found = _SEAL.search(data)
    if found and hashlib.sha256(data[: found.start()]).hexdigest().encode() != found[1]:
        raise DamagedError("does not have the checksum in its last line")
    try:
        values = json.loads(data.decode("utf-8"))
    except RecursionError as error:
        raise DamagedError("is nested too deeply") from error
    if not isinstance(values, dict) or (values.pop("checksum", None) is None) != (found is None):
        raise DamagedError("does not end with its checksum")
    return values, found is not None

"""Samples read from the entries of a scan."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import jpeg, write_tar
from scanned import only, samples


@pytest.mark.parametrize("data", [b"{broken", b"3", b"[1]", b"null", b"[" * 100_000, b"\xff\xff"])
def test_what_cannot_be_read_beside_an_image_is_left_out_with_a_note(tmp_path: Path, data: bytes) -> None:
    tar = write_tar(tmp_path / "s.tar", [("a.jpg", jpeg()), ("a.json", data), ("a.txt", b"a cat")])
    sample = samples(only(tar))["a"]
    assert (sample.image, sample.caption, sample.metadata) == (jpeg(), "a cat", {})
    (note,) = sample.notes
    assert note.startswith("its .json ")


def test_a_sidecar_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(1 << 34)
    sample = samples(only(tmp_path))["a"]
    assert (sample.caption, sample.notes) == (None, ("its .txt is larger than 16 MB",))


def test_half_of_a_surrogate_pair_is_repaired(tmp_path: Path) -> None:
    members = [("a.jpg", jpeg()), ("a.json", b'{"caption": "nice \\ud83d", "a\\ud800": "\\u0000"}')]
    sample = samples(only(write_tar(tmp_path / "s.tar", members)))["a"]
    assert sample.caption == "nice \ufffd"
    assert sample.metadata == {"caption": "nice \ufffd", "a\ufffd": "\ufffd"}

"""Samples read from the entries of a scan."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import jpeg, write_tar
from scanned import only

from diantu.datasets import Reason, SampleError, read_sample, scan


def test_broken_json_is_a_sample_error(tmp_path: Path) -> None:
    tar = write_tar(
        tmp_path / "s.tar", [("a.jpg", jpeg()), ("a.json", b"{broken"), ("b.jpg", jpeg()), ("b.json", b"3")]
    )
    for entry in scan(only(tar)).entries:
        with pytest.raises(SampleError) as caught:
            read_sample(entry)
        assert caught.value.reason == Reason.BAD_METADATA

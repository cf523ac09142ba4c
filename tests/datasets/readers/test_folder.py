"""Folders of images, with files of captions beside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pictures import jpeg
from scanned import only, samples

from diantu.datasets import Reason, scan


def test_a_folder_with_subfolders_and_sidecars(tmp_path: Path) -> None:
    (tmp_path / "子目录").mkdir()
    (tmp_path / "子目录" / "猫.jpg").write_bytes(jpeg(1))
    (tmp_path / "子目录" / "猫.txt").write_text("一只猫", encoding="utf-8")
    (tmp_path / "b.jpg").write_bytes(jpeg(2))
    (tmp_path / "b.png").write_bytes(jpeg(3))
    (tmp_path / "b.json").write_text('{"text": "a dog", "score": 1}')
    (tmp_path / "notes.md").write_text("no image")
    found = samples(only(tmp_path))
    assert {key: s.caption for key, s in found.items()} == {"b": "a dog", "b.png": "a dog", "子目录/猫": "一只猫"}
    assert found["子目录/猫"].image == jpeg(1)
    assert found["b"].metadata["score"] == 1


def test_a_file_name_that_is_not_utf8_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    try:
        (tmp_path / os.fsdecode(b"\xff\xfe.jpg")).write_bytes(jpeg())
    except OSError:
        pytest.skip("this file system has no such names")
    found = scan(only(tmp_path))
    assert [entry.key for entry in found.entries] == ["a"]
    assert [failure.reason for failure in found.failures] == [Reason.UNREADABLE]

"""`checksums.json`: kills at every moment, files without checksums, damage of the file itself; sealed JSON."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from damaging import contents_of
from hypothesis import given
from hypothesis import strategies as st

from diantu.datasets import InputError
from diantu.datasets.checksums import (
    NAME,
    DamagedError,
    accept,
    open_checked,
    read_checked,
    read_entries,
    sealed,
    settle,
    unsealed,
    verify,
    write_checked,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab猫", max_size=3), inner, max_size=3),
    max_leaves=6,
)


class Killed(BaseException):
    pass


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), JSON, min_size=1, max_size=3), st.data())
def test_sealed_values_are_read_again_and_any_other_byte_is_noticed(values: dict, data: st.DataObject) -> None:
    written = sealed(values)
    assert unsealed(written) == (values, True)
    place = data.draw(st.integers(0, len(written) - 1))
    changed = bytearray(written)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read, is_sealed = unsealed(bytes(changed))
    except ValueError:
        return
    assert not is_sealed  # the name of the last field has changed, so there is a field that no file has
    assert read.keys() - {"a", "b", "c"} - values.keys()


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, before: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are three renames: of the checksums, of the file, and of the checksums again."""
    started = tmp_path / "started"
    started.mkdir()
    write_checked(started, "other", b"other")
    if before is not None:
        write_checked(started, "file", before)
    whole = shutil.copytree(started, tmp_path / "whole")
    write_checked(whole, "file", b"new")
    rename, seen = Path.replace, []
    for number in range(3):
        killed = shutil.copytree(started, tmp_path / str(number))
        renamed: list[Path] = []

        def replace(path: Path, target: Path, number: int = number, renamed: list[Path] = renamed) -> Path:
            if len(renamed) == number:
                raise Killed
            renamed.append(path)
            return rename(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", replace)
            with pytest.raises(Killed):
                write_checked(killed, "file", b"new")
        assert verify(killed, ["file"] if (killed / "file").exists() else [], str, is_expected=True).sentences == ()
        if before is None and number < 2:
            with pytest.raises(FileNotFoundError):
                read_checked(killed, "file")
        else:
            seen.append(read_checked(killed, "file"))
        settled = shutil.copytree(killed, tmp_path / f"settled {number}", ignore=shutil.ignore_patterns("file.tmp"))
        settle(settled)
        assert all(entry.is_settled for entry in read_entries(settled).values())
        assert contents_of(settled) in (contents_of(started), contents_of(whole))
        write_checked(killed, "file", b"new")
        assert contents_of(killed) == contents_of(whole)
    assert set(seen) == ({b"old", b"new"} if before else {b"new"})


def test_files_without_checksums_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    assert read_checked(tmp_path, "file") == b"old"
    assert verify(tmp_path, ["file"], str, is_expected=False).unchecked == ("file",)
    write_checked(tmp_path, "file", b"old")
    assert not (tmp_path / NAME).exists()  # nothing has changed, so nothing is written
    assert accept(tmp_path, ["file", "missing"]) == 1
    assert verify(tmp_path, ["file"], str, is_expected=True) == verify(tmp_path, [], str, is_expected=False)


def test_damage_is_refused(tmp_path: Path) -> None:
    write_checked(tmp_path, "file", b"bytes")
    (tmp_path / "file").write_bytes(b"Bytes")
    with pytest.raises(DamagedError, match="has changed since it was written"):
        read_checked(tmp_path, "file")
    open_checked(tmp_path, "file", most=4).close()  # of a larger file only the size is compared
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DamagedError, match="has changed"):
        open_checked(tmp_path, "file", most=4)
    (tmp_path / "file").unlink()
    with pytest.raises(DamagedError, match="is missing"):
        read_checked(tmp_path, "file")


def test_damaged_checksums_stop_readers_and_writers_until_the_files_are_accepted(tmp_path: Path) -> None:
    write_checked(tmp_path, "file", b"bytes")
    data = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(data.replace(b"5", b"6", 1))
    with pytest.raises(DamagedError, match=r"checksums\.json is damaged .*diantu status --accept"):
        read_checked(tmp_path, "file")
    with pytest.raises(InputError, match=r"checksums\.json is damaged"):
        write_checked(tmp_path, "file", b"more")
    accept(tmp_path, ["file"])
    assert (tmp_path / NAME).read_bytes() == data

"""Files are complete or as they were, and what the operating system refuses is one sentence."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from diantu.datasets.errors import FileError
from diantu.datasets.files import (
    exclusive,
    file_error,
    finish_replacing,
    read_bytes,
    reading,
    remove_temporary,
    replacing,
    replacing_together,
    sha256_of_file,
    write_atomic,
)
from diantu.scripts.main import call


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """Writing beyond that fails with `EFBIG`, also in C++: as near to a full disk as a process can get by itself."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    write_atomic(path, b"old")
    with files_of_at_most(1000):
        with pytest.raises(FileError, match=rf"^{path} cannot be written \(File too large\); .*, then run the same"):
            write_atomic(path, bytes(2000))
        with (
            pytest.raises(FileError, match=rf"^{path} cannot be written \("),  # numpy raises an OSError of its own
            replacing(path) as temporary,
            temporary.open("wb") as file,
        ):
            np.save(file, np.zeros(2000))
    assert [file.name for file in tmp_path.iterdir()] == ["a.npy"]
    assert path.read_bytes() == b"old"


def test_a_lock_or_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(FileError, match=r"file cannot be written \((File exists|Not a directory)\)"),
        exclusive(tmp_path / "file", "lock"),
    ):
        pass


def test_errors_while_reading_name_the_file_but_damage_passes(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"a cannot be read \(Input/output error\)"), reading(tmp_path / "a"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    for passes in (FileNotFoundError(errno.ENOENT, "no"), OSError("not a parquet file")):
        with pytest.raises(type(passes)), reading(tmp_path / "a"):
            raise passes


_MAP = """
import resource, sys
from pathlib import Path
import pyarrow
from diantu.datasets.files import reading
used = 4096 * int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (used + (16 << 20),) * 2)
with reading(Path(sys.argv[1])):
    pyarrow.memory_map(sys.argv[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the addresses of a process")
def test_a_file_that_does_not_fit_in_memory_is_not_called_damaged(tmp_path: Path) -> None:
    """pyarrow raises this error without its number."""
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    done = subprocess.run([sys.executable, "-c", _MAP, str(path)], capture_output=True, text=True)
    assert "a cannot be read (Cannot allocate memory); free some memory, then" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("moment", ["the first is written", "both are written", "the first is renamed", "done"])
def test_two_files_that_belong_together_are_never_mixed(tmp_path: Path, moment: str) -> None:
    one, other = tmp_path / "index.faiss", tmp_path / "index.json"
    for path in (one, other):
        path.write_bytes(b"old")
    temporaries = [path.with_name(f"{path.name}.tmp") for path in (one, other)]
    if moment == "the first is written":
        temporaries[0].write_bytes(b"new")
    elif moment == "both are written":
        [path.write_bytes(b"new") for path in temporaries]
    else:
        one.write_bytes(b"new")
        (other if moment == "done" else temporaries[1]).write_bytes(b"new")
    finish_replacing(one, other)
    expected = b"new" if moment in ("the first is renamed", "done") else b"old"
    assert one.read_bytes() == other.read_bytes() == expected
    assert sorted(tmp_path.iterdir()) == [one, other]


def test_an_error_between_the_two_renames_is_mended_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = tmp_path / "index.faiss", tmp_path / "index.json"
    replace = Path.replace

    def fails_once(path: Path, target: Path) -> Path:
        if target == other:
            monkeypatch.undo()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fails_once)
    with pytest.raises(FileError, match=r"index\.json cannot be written"), replacing_together(one, other) as paths:
        [path.write_bytes(b"new") for path in paths]
    finish_replacing(one, other)
    assert (one.read_bytes(), other.read_bytes()) == (b"new", b"new")


def test_of_a_pair_the_second_temporary_file_is_removed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[str] = []
    for name in ("index.faiss.tmp", "index.json.tmp"):
        (tmp_path / name).touch()
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok: removed.append(path.name))
    remove_temporary(tmp_path)
    assert removed == ["index.json.tmp", "index.faiss.tmp"]


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (FileError("a cannot be read (b); c"), 1, "a cannot be read (b); c"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), 1, "a cannot be used (Permission denied); check"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "standard output cannot be written (No space left"),
        (OSError(errno.EIO, "Input/output error"), 1, "a file cannot be used (Input/output error); check the path"),
        (MemoryError(), 1, "there is not enough memory"),
        (KeyboardInterrupt(), 130, "stopped; run the same command again to continue"),
    ],
)
def test_every_error_of_the_system_is_a_sentence(
    error: BaseException, code: int, sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def run() -> int:
        """Fails."""
        raise error

    assert call(run, "diantu x", []) == code
    (said,) = capfd.readouterr().err.splitlines()
    assert said.startswith(f"diantu: {sentence}")
    assert "bug" not in said


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "gallery.json"
    make = {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "loop": lambda: path.symlink_to(path.name),
    }
    make[kind]()
    for read in (read_bytes, sha256_of_file):
        with pytest.raises(FileError, match=r"gallery\.json cannot be read \("):
            read(path)


def test_a_pipe_in_the_place_of_a_lock_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.lock")
    with pytest.raises(FileError, match=r"a\.lock cannot be written"), exclusive(tmp_path, "a.lock"):
        pass


def test_a_copy_to_a_full_disk_names_the_file_that_is_written() -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "/gallery/a.npy", None, "/full/a.npy.tmp")
    assert str(file_error(error, Path("/full/a.npy"), "written")).startswith("/full/a.npy cannot be written (No space")

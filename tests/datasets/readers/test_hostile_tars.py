"""Tars whose headers lie: what stands before and behind them is read, the rest is listed, and memory stays small."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from pictures import jpeg
from scanned import only

from diantu.datasets import Failure, Reason, Span, read_range, read_sample, scan
from diantu.datasets.readers import reader, streams, tar

BLOCK = 512
END = bytes(2 * BLOCK)


def header(name: str, size: int | bytes = 0, kind: bytes = b"0", target: str = "") -> bytes:
    """A header with a right checksum, whatever its size says."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    block = bytearray(BLOCK)
    block[:100] = name.encode().ljust(100, b"\0")
    block[100:124] = b"0000000\x00" * 3
    block[124:136] = field.ljust(12, b"\0")
    block[136:148] = b"00000000000\0"
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[157:257] = target.encode().ljust(100, b"\0")
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def base256(number: int) -> bytes:
    return bytes([0x80 if number >= 0 else 0xFF]) + (number % (1 << 88)).to_bytes(11, "big")


def file(name: str, data: bytes) -> bytes:
    return header(name, len(data)) + data + bytes(-len(data) % BLOCK)


def read(path: Path) -> tuple[dict[str, tuple[bytes, str | None]], dict[str, Failure]]:
    found = scan(only(path))
    samples = {sample.key: (sample.image, sample.caption) for sample in map(read_sample, found.entries)}
    return samples, {failure.key: failure for failure in found.failures}


BEFORE, BEHIND = file("a.jpg", jpeg(1)), file("z.jpg", jpeg(2))
PAX_SIZE = b"23 size=-4611686018427\n"


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("lie", "key", "says"),
    [
        (header("b.jpg", base256(-512)), "b", "gives -512 bytes as its size"),
        (header("b.jpg", base256(-(1 << 80))), "b", "bytes as its size"),
        (header("b.jpg", base256(1 << 62)), "b", "must have 4611686018427387904 bytes by its header, but the tar has"),
        (header("b.jpg", 1 << 30), "b", "must have 1073741824 bytes by its header, but the tar has"),
        (header("b.jpg", b"12x4"), "b", "gives no number as its size"),
        (header("b.jpg", b"-0000000512"), "b", "gives no number as its size"),
        (header("x", 6 << 30, b"x"), "", "must have 6442450944 bytes"),
        (header("x", base256(1 << 62), b"L"), "", "must have 4611686018427387904 bytes"),
        (header("x", len(PAX_SIZE), b"x") + PAX_SIZE.ljust(BLOCK, b"\0") + header("b.jpg"), "b", "as its size"),
        (header("x", 9, b"x") + b"9 path=b\n".ljust(BLOCK, b"\1") + header("b.jpg"), None, ""),
        (header("x", 9, b"x") + b"99 path=b".ljust(BLOCK, b"\0") + header("b.jpg"), "b", "header that is damaged"),
        (header("x", 9, b"x") + b"\xff\xff=\xff \n==".ljust(BLOCK, b"\0") + header("b.jpg"), "b", "that is damaged"),
    ],
)
def test_headers_that_lie(tmp_path: Path, compress: Callable, lie: bytes, key: str | None, says: str) -> None:
    path = tmp_path / ("s.tar" if compress is bytes else "s.tar.gz")
    path.write_bytes(compress(BEFORE + lie + BEHIND + END))
    samples, failures = read(path)
    assert {key: image for key, (image, _) in samples.items() if image} == {"a": jpeg(1), "z": jpeg(2)}
    if key is not None:
        assert says in failures[key].detail


def sparse_file(path: Path, head: bytes, hole: int, tail: bytes) -> Path:
    with path.open("wb") as out:
        out.write(head)
        out.seek(hole, os.SEEK_CUR)
        out.write(tail)
    return path


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("b.png", b"0", Reason.TOO_LARGE),
        ("b.txt", b"0", Reason.TOO_LARGE),
        ("b.json", b"0", Reason.TOO_LARGE),
        ("b", b"x", None),
        ("b", b"g", None),
        ("b", b"L", None),
        ("b.bin", b"0", Reason.NO_IMAGE),
    ],
)
def test_members_of_twenty_gigabytes_cost_no_memory(
    tmp_path: Path, name: str, kind: bytes, reason: Reason | None
) -> None:
    size = 20 << 30
    try:
        path = sparse_file(tmp_path / "s.tar", BEFORE + header(name, base256(size), kind), size, BEHIND + END)
    except OSError:
        pytest.skip("this file system has no sparse files")
    tracemalloc.start()
    samples, failures = read(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    path.unlink()
    assert most < 20 << 20
    assert samples["a"] == (jpeg(1), None)
    if reason is None and kind != b"g":  # the name of what follows is not known
        assert [failure.reason for failure in failures.values()] == [Reason.UNREADABLE]
        assert "has an extended header of 21474836480 bytes; at most 1048576 are read" in failures["z"].detail
    else:
        assert samples["z"] == (jpeg(2), None)
        assert {key: failure.reason for key, failure in failures.items()} == ({"b": reason} if reason else {})


def test_a_caption_that_is_too_large_does_not_cost_its_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diantu.datasets.readers.members.MAX_TEXT_BYTES", 100)
    monkeypatch.setattr("diantu.datasets.readers.members.MAX_MEMBER_BYTES", 5000)
    data = file("a.jpg", jpeg(1)) + file("a.txt", b"x" * 101) + file("b.jpg", b"x" * 5001) + file("b.txt", b"b")
    (tmp_path / "s.tar.gz").write_bytes(gzip.compress(data + END))
    samples, failures = read(tmp_path / "s.tar.gz")
    assert samples == {"a": (jpeg(1), None)}
    assert {key: failure.detail for key, failure in failures.items()} == {
        "a": "a.txt has 101 bytes; at most 100 are read of such a member",
        "b": "b.jpg has 5001 bytes; at most 5000 are read of such a member",
    }


def test_data_that_expand_without_end_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_UNPACKED_BYTES", 3 << 20)
    (tmp_path / "s.tar.gz").write_bytes(gzip.compress(BEFORE + file("b.bin", bytes(8 << 20)) + BEHIND + END))
    samples, failures = read(tmp_path / "s.tar.gz")
    assert samples == {"a": (jpeg(1), None)}
    assert "they expand to more than" in failures["b.bin"].detail


def test_a_tar_of_endless_members_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "MAX_MEMBERS", 3)
    (tmp_path / "s.tar").write_bytes(b"".join(file(f"{i}.jpg", b"x") for i in range(5)) + END)
    samples, failures = read(tmp_path / "s.tar")
    assert list(samples) == ["0", "1", "2"]
    assert "more than 3 members" in failures[""].detail


def test_places_of_a_strangers_gallery_are_checked(tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(BEFORE)
    for offset, length in ((0, 1 << 62), (0, -1), (-5, 3), (1 << 62, 3)):
        with pytest.raises((OSError, ValueError), match=r"s\.tar"):
            read_range(Span(uri=str(tmp_path / "s.tar"), offset=offset, length=length))


def test_images_of_folders_have_the_same_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_MEMBER_BYTES", 10)
    (tmp_path / "a.jpg").write_bytes(b"x" * 11)
    with pytest.raises(ValueError, match=r"a\.jpg has 11 bytes; at most 10 are read as one image"):
        read_range(Span(uri=str(tmp_path / "a.jpg")))


def test_bytes_behind_the_end_are_told(tmp_path: Path) -> None:
    junk = b"no tar at all" * 10
    plain = BEFORE + END + junk
    (tmp_path / "s.tar").write_bytes(plain)
    (tmp_path / "s.tar.gz").write_bytes(gzip.compress(BEFORE + END) + junk)
    size = len(gzip.compress(BEFORE + END))
    told = f"{len(junk)} bytes from byte {len(BEFORE + END)} on, behind the end mark, are no part of a tar"
    assert read(tmp_path / "s.tar")[1][""].detail == told
    assert f"{len(junk)} bytes from byte {size} of the file on are" in read(tmp_path / "s.tar.gz")[1][""].detail
    assert list(read(tmp_path / "s.tar")[0]) == list(read(tmp_path / "s.tar.gz")[0]) == ["a"]
    (tmp_path / "s.tar").write_bytes(plain + BEHIND + END)
    assert list(read(tmp_path / "s.tar")[0]) == ["a", "z"]


def sparse_members(kind: str) -> bytes:
    """An image that GNU tar stores without its zeros, in one of its four formats, and another one behind it."""
    data = jpeg(7)
    zeros = 4 * BLOCK
    if kind == "gnu":
        block = bytearray(header("b.jpg", len(data), b"S"))
        block[257:265] = b"ustar  \0"
        block[386:398], block[398:410] = b"%011o\0" % zeros, b"%011o\0" % len(data)
        block[482] = 1  # a further block of the map
        block[483:495] = b"%011o\0" % (zeros + len(data))
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        body = bytes(block) + bytes(BLOCK) + data
    else:
        version = {"0.0": {"GNU.sparse.size": str(zeros)}, "0.1": {"GNU.sparse.map": f"{zeros},{len(data)}"}}.get(
            kind, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        )
        stored = data if kind != "1.0" else f"1\n{zeros}\n{len(data)}\n".encode().ljust(BLOCK, b"\0") + data
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
            info = tarfile.TarInfo("GNUSparseFile.1/b.jpg")
            info.size = len(stored)
            info.pax_headers = {**version, "GNU.sparse.name": "b.jpg"}
            out.addfile(info, io.BytesIO(stored))
        body = buffer.getvalue()[: -(-len(buffer.getvalue().rstrip(b"\0")) // BLOCK) * BLOCK]
    return BEFORE + body + bytes(-len(body) % BLOCK) + BEHIND + END


@pytest.mark.parametrize("kind", ["gnu", "0.0", "0.1", "1.0"])
def test_sparse_members_are_listed(tmp_path: Path, kind: str) -> None:
    (tmp_path / "s.tar").write_bytes(sparse_members(kind))
    samples, failures = read(tmp_path / "s.tar")
    assert samples == {"a": (jpeg(1), None), "z": (jpeg(2), None)}
    assert failures.keys() == {"b"}
    assert "without its zeros (a sparse file); pack the tar without --sparse" in failures["b"].detail


def test_links_are_followed_or_listed(tmp_path: Path) -> None:
    links = {
        "x/up.jpg": ("2", "../a.jpg"),
        "chain.jpg": ("2", "x/up.jpg"),
        "through.jpg": ("2", "folder/up.jpg"),
        "folder": ("2", "x"),
        "hard.jpg": ("1", "./a.jpg"),
        "circle.jpg": ("2", "round.jpg"),
        "round.jpg": ("2", "./circle.jpg"),
        "grows.jpg": ("2", "deeper/grows.jpg"),
        "deeper": ("2", "deeper/deeper"),
        "gone.jpg": ("1", "nowhere.jpg"),
        "out.jpg": ("2", "/etc/x.jpg"),
        "away.jpg": ("2", "../../x.jpg"),
    }
    data = b"".join(header(name, 0, kind.encode(), target) for name, (kind, target) in links.items())
    text = header("hard.txt", 0, b"2", "a.txt") + file("a.txt", b"A")
    (tmp_path / "s.tar").write_bytes(data + text + BEFORE + header("pipe.jpg", 0, b"6") + END)
    samples, failures = read(tmp_path / "s.tar")
    right = {"x/up": None, "chain": None, "through": None, "hard": "A", "a": "A"}
    assert samples == {key: (jpeg(1), caption) for key, caption in right.items()}
    told = {
        "circle": "lead on in a circle", "round": "lead on in a circle", "grows": "or through more than 40",
        "gone": "which is no file of the tar", "out": "leads out of the tar", "away": "leads out of the tar",
        "pipe": "is a named pipe",
    }  # fmt: skip
    assert failures.keys() == told.keys()
    for key, says in told.items():
        assert says in failures[key].detail


@pytest.mark.parametrize("behind", [b"", bytes(1024)], ids=["end of the file", "end mark"])
def test_an_extended_header_describes_no_member_behind_the_end(tmp_path: Path, behind: bytes) -> None:
    long_name = header("x", 6, b"L") + b"z.jpg\0".ljust(512, b"\0")
    (tmp_path / "s.tar").write_bytes(
        file("a.jpg", b"A") + long_name + behind + (file("b.jpg", b"B") if behind else b"")
    )
    samples, failures = read(tmp_path / "s.tar")
    assert samples.keys() == ({"a", "b"} if behind else {"a"})
    assert failures["z"].detail == "the member that an extended header names (z.jpg) is missing"


def test_empty_values_of_an_extended_header_count_as_none(tmp_path: Path) -> None:
    record = b"8 path=\n8 size=\n"
    extended = header("x", len(record), b"x") + record.ljust(512, b"\0")
    (tmp_path / "s.tar").write_bytes(extended + file("a.jpg", b"A") + bytes(1024))
    samples, failures = read(tmp_path / "s.tar")
    assert samples.keys() == {"a"}
    assert not failures

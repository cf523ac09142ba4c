"""`checksums.json`: size and SHA-256 of every file of a folder that jobs replace, so that damage is noticed.

A file and its checksum cannot change in one step. So the new checksum is written first, beside that of the file that it
replaces; then the file is replaced; then the old checksum is removed. A kill in between leaves two checksums, and the
file has one of them. The next job removes the other one.

A JSON file that is written once carries its own checksum in its last line: it is sealed.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from .errors import FileError, InputError, first_line
from .files import TEMPORARY, exclusive, read_bytes, reading, replacing, write_atomic

NAME, LOCK = "checksums.json", "checksums.lock"
# What a job that was killed may leave in a folder before its first own file is there.
LEFT_BEHIND = (NAME, f"{NAME}{TEMPORARY}", LOCK)
ACCEPT = "diantu status --accept"
_CHECK = f"restore it from a copy, or check the other files and run {ACCEPT}"
# A file of this size is read and compared whenever it is opened: it takes about a millisecond.
SMALL = 1 << 20
_BLOCK = 1 << 20
# The lock is held while two small files are written.
_PATIENCE_SECONDS = 30.0
# A reader may come between the replacement of a file and that of its checksum.
_PAUSES = (0.02, 0.1, 0.5)
_MISSING = "is missing"
_SEAL = re.compile(rb',\n "checksum": "([0-9a-f]{64})"\n\}\n\Z')


class DamagedError(ValueError):
    """A file is missing, or is not what its checksum says. The message completes the sentence "the file …"."""


def damage(path: Path, error: Exception) -> str:
    """The beginning of a message about a damaged file: its path, and what is wrong."""
    if not isinstance(error, DamagedError):
        return f"{path} is damaged ({first_line(error)})"
    return f"{path} {error}" if str(error) == _MISSING else f"{path} is damaged (it {error})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksum:
    """The size of a file in bytes, and its SHA-256 as a hex digest."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Checksum:
        """The checksum of some bytes."""
        return cls(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    @classmethod
    def of_file(cls, path: Path) -> Checksum:
        """The checksum of a file of any size."""
        with path.open("rb") as file:
            return cls.of_open(file)

    @classmethod
    def of_open(cls, file: IO[bytes], most: int | None = None) -> Checksum:
        """The checksum of an open file, or of its first `most` bytes. The position is at the beginning afterwards."""
        digest, left = hashlib.sha256(), most
        file.seek(0)
        while block := file.read(_BLOCK if left is None else min(_BLOCK, left)):
            digest.update(block)
            left = None if left is None else left - len(block)
        size = file.tell()
        file.seek(0)
        return cls(bytes=size, sha256=digest.hexdigest())

    def to_json(self) -> dict[str, Any]:
        """The values as `checksums.json` holds them."""
        return {"bytes": self.bytes, "sha256": self.sha256}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What `checksums.json` says about a file.

    Attributes:
        now: the checksum of the file.
        is_settled: False while the file is being replaced, or if a job was killed in that moment.
        replaces: the checksum of the file before; None if there was none, or the entry is settled.
        is_prefix: True if jobs append to the file, and `now` is the checksum of its first bytes.
    """

    now: Checksum
    is_settled: bool = True
    replaces: Checksum | None = None
    is_prefix: bool = False

    @property
    def allowed(self) -> tuple[Checksum | None, ...]:
        """The checksums that the file may have; None stands for a file that does not exist."""
        return (self.now,) if self.is_settled else (self.now, self.replaces)

    def to_json(self) -> dict[str, Any]:
        """The values as `checksums.json` holds them."""
        values = {**self.now.to_json(), **({"appended_to": True} if self.is_prefix else {})}
        if self.is_settled:
            return values
        return {**values, "replaces": self.replaces.to_json() if self.replaces else None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Entry:
        """Inverse of `to_json`."""
        before = values.get("replaces")
        return cls(
            now=Checksum(bytes=values["bytes"], sha256=values["sha256"]),
            is_settled="replaces" not in values,
            replaces=Checksum(**before) if before else None,
            is_prefix="appended_to" in values,
        )


def sealed(values: Mapping[str, Any]) -> bytes:
    """Values as indented JSON, with one more field at the end: the SHA-256 of all bytes before that field."""
    body = json.dumps(values, indent=1, ensure_ascii=False).removesuffix("\n}").encode()
    return body + b',\n "checksum": "' + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


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


def read_entries(root: Path) -> dict[str, Entry]:
    """What `checksums.json` of a folder says, by path; empty if there is no such file, as in earlier releases.

    Raises:
        DamagedError: if it is damaged.
    """
    try:
        values, is_sealed = unsealed(read_bytes(root / NAME))
        if not is_sealed:
            raise DamagedError("does not end with its checksum")
        return {name: Entry.from_json(entry) for name, entry in values["files"].items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"cannot be checked, because {root / NAME} is damaged ({error}); {_CHECK}") from error


def listed(root: Path) -> dict[str, Entry]:
    """As `read_entries`.

    Raises:
        InputError: if `checksums.json` is damaged.
    """
    try:
        return read_entries(root)
    except DamagedError as error:
        raise InputError(f"the files of {root} {error}") from error


def open_checked(root: Path, name: str, *, most: int | None = None) -> IO[bytes]:
    """Opens a file after a comparison with its checksum. A file without one is opened as it is.

    Args:
        root: the folder with `checksums.json`.
        name: the file's path in that folder.
        most: of a larger file only the size is compared; None compares all bytes of every file.

    Raises:
        FileNotFoundError: if there is no such file, and there should be none.
        DamagedError: if the file is not the one that was written.
    """
    for pause in (*_PAUSES, None):
        entry = read_entries(root).get(name)
        try:
            with reading(root / name):
                file = (root / name).open("rb")
        except FileNotFoundError:
            if entry is None or None in entry.allowed:
                raise
            reason = _MISSING
        else:
            with reading(root / name):
                if entry is None or _is_allowed(file, entry, most):
                    return file
            file.close()
            reason = "has changed since it was written"
        if pause is None:
            raise DamagedError(reason)
        time.sleep(pause)
    raise AssertionError("the last pause is None")


def read_checked(root: Path, name: str) -> bytes:
    """The bytes of a file that have been compared with its checksum; raises as `open_checked` does."""
    with open_checked(root, name) as file, reading(root / name):
        return file.read()


def _is_allowed(file: IO[bytes], entry: Entry, most: int | None) -> bool:
    size = file.seek(0, 2)
    file.seek(0)
    if entry.is_prefix:
        return any(Checksum.of_open(file, allowed.bytes) == allowed for allowed in entry.allowed if allowed)
    if most is not None and size > most:
        return size in {checksum.bytes for checksum in entry.allowed if checksum}
    return Checksum.of_open(file) in entry.allowed


@contextmanager
def recording(root: Path, name: str, *, is_prefix: bool = False) -> Iterator[Path]:
    """Yields a temporary path to write to; at the end that file replaces another one, and its checksum is noted.

    Args:
        root: the folder with `checksums.json`.
        name: the file's path in that folder.
        is_prefix: whether jobs will append to the file.

    Raises:
        InputError: if `checksums.json` is damaged.
    """
    with announced(root, name, is_prefix=is_prefix) as announce, replacing(root / name) as temporary:
        yield temporary
        announce(temporary)


@contextmanager
def announced(root: Path, name: str, *, is_prefix: bool = False) -> Iterator[Callable[[Path], None]]:
    """Yields a function to call with the new file, just before that replaces the old one; see `recording`."""
    with ExitStack() as stack:
        entries: dict[str, Entry] = {}

        def announce(temporary: Path) -> None:
            now = Checksum.of_file(temporary)
            stack.enter_context(_locked(root))
            entries.update(_settled(root))
            before = entries[name].now if name in entries else _present(root / name)
            entries[name] = Entry(now=now, is_settled=False, replaces=before, is_prefix=is_prefix)
            _write(root, entries)

        yield announce
        if entries:
            entries[name] = replace(entries[name], is_settled=True, replaces=None)
            _write(root, entries)


def write_checked(root: Path, name: str, data: bytes, *, is_prefix: bool = False) -> None:
    """Replaces a file and its checksum, unless the file already has these bytes; see `recording`."""
    if _holds(root, name, data):
        return
    with recording(root, name, is_prefix=is_prefix) as temporary:
        temporary.write_bytes(data)


def write_checked_json(root: Path, name: str, value: Any) -> None:
    """Writes indented JSON, for people to read and `diff` to compare, and its checksum."""
    write_checked(root, name, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def settle(root: Path) -> None:
    """Removes what a job left in `checksums.json` that was killed while it replaced a file."""
    temporary = root / f"{NAME}{TEMPORARY}"
    is_settled = all(entry.is_settled for entry in listed(root).values())
    if is_settled and not temporary.exists():
        return
    with _locked(root):
        temporary.unlink(missing_ok=True)
        if not is_settled:
            _write(root, _settled(root))


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """What is wrong with the files of a folder.

    Attributes:
        sentences: one per damaged file, which says what is wrong and what to do.
        unchecked: the files without a checksum, as earlier releases wrote them.
    """

    sentences: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()

    def __add__(self, other: Problems) -> Problems:
        return Problems(sentences=(*self.sentences, *other.sentences), unchecked=(*self.unchecked, *other.unchecked))

    def with_sentence(self, sentence: str) -> Problems:
        """With one more damaged file."""
        return self + Problems(sentences=(sentence,))

    def with_unchecked(self, name: str) -> Problems:
        """With one more file that has no checksum."""
        return self + Problems(unchecked=(name,))

    def mentions(self, name: str) -> bool:
        """Whether a file is damaged."""
        return any(sentence.startswith(f"{name} ") for sentence in self.sentences)


def verify(root: Path, names: Iterable[str], remedy: Callable[[str], str], *, is_expected: bool) -> Problems:
    """Compares files with their checksums in `checksums.json`.

    Args:
        root: the folder.
        names: the files that should have a checksum there.
        remedy: what to do about a damaged file.
        is_expected: whether there was a `checksums.json` from the beginning, so that every file must have a checksum.
    """
    path = root / NAME
    try:
        entries = read_entries(root)
    except DamagedError:
        return Problems(sentences=(f"{NAME} is damaged; {_CHECK}",), unchecked=tuple(names))
    if is_expected and not path.exists():
        return Problems(sentences=(f"{NAME} is missing; {_CHECK}",), unchecked=tuple(names))
    problems = Problems()
    for name in dict.fromkeys([*entries, *names]):
        if name in entries:
            if reason := _reason(root, name):
                problems = problems.with_sentence(f"{name} {reason}; {remedy(name)}")
        elif is_expected:
            problems = problems.with_sentence(f"{name} has no checksum in {NAME}; {_CHECK}")
        else:
            problems = problems.with_unchecked(name)
    return problems


def _reason(root: Path, name: str) -> str:
    """Why a file is not the one that was written; empty if it is."""
    try:
        open_checked(root, name).close()
    except FileNotFoundError:
        return ""
    except DamagedError as error:
        return str(error)
    except FileError as error:
        return f"cannot be read ({first_line(error.__cause__ or error)})"
    return ""


def accept(root: Path, names: Iterable[str], *, prefixes: Collection[str] = ()) -> int:
    """Takes the present files as right: writes `checksums.json` with their checksums.

    Args:
        root: the folder.
        names: its files that jobs replace.
        prefixes: those of them to which jobs append.

    Returns:
        How many files there are.
    """
    with _locked(root):
        found = {name: _present(root / name) for name in names}
        entries = {
            name: Entry(now=checksum, is_prefix=name in prefixes) for name, checksum in found.items() if checksum
        }
        _write(root, entries)
    return len(entries)


def _holds(root: Path, name: str, data: bytes) -> bool:
    """Whether a file has these bytes, and `checksums.json` says so too, if there is one."""
    path = root / name
    if not path.is_file() or path.stat().st_size != len(data) or path.read_bytes() != data:
        return False
    if not (root / NAME).exists():
        return True
    entry = listed(root).get(name)
    return entry is not None and entry.is_settled and entry.now == Checksum.of(data)


def _settled(root: Path) -> dict[str, Entry]:
    """The entries, with a decision about those that a killed job left. Only while the lock is held."""
    entries = {}
    for name, entry in listed(root).items():
        present = entry.now if entry.is_settled else _present(root / name)
        if present is not None and present in entry.allowed:
            entries[name] = replace(entry, now=present, is_settled=True, replaces=None)
        elif present not in entry.allowed:
            entries[name] = entry
    return entries


def _present(path: Path) -> Checksum | None:
    return Checksum.of_file(path) if path.is_file() else None


def _locked(root: Path) -> Any:
    return exclusive(root, LOCK, patience=_PATIENCE_SECONDS, what="command")


def _write(root: Path, entries: Mapping[str, Entry]) -> None:
    files = {name: entry.to_json() for name, entry in sorted(entries.items())}
    write_atomic(root / NAME, sealed({"files": files}))

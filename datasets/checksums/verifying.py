"""Compares the files of a folder with their checksums, for `diantu status --verify`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import FileError, first_line
from .reading import CHECK, NAME, open_checked, read_entries
from .values import DamagedError


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
        return Problems(sentences=(f"{NAME} is damaged; {CHECK}",), unchecked=tuple(names))
    if is_expected and not path.exists():
        return Problems(sentences=(f"{NAME} is missing; {CHECK}",), unchecked=tuple(names))
    problems = Problems()
    for name in dict.fromkeys([*entries, *names]):
        if name in entries:
            if reason := _reason(root, name):
                problems = problems.with_sentence(f"{name} {reason}; {remedy(name)}")
        elif is_expected:
            problems = problems.with_sentence(f"{name} has no checksum in {NAME}; {CHECK}")
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

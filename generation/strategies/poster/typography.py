"""Breaks copy into balanced lines: Chinese between characters by its punctuation rules, Latin text at spaces.

Lengths are in ems, so a text is measured once and its lines are valid for any font size.
Rules: Unicode Standard Annex #14 and the Requirements for Chinese Text Layout of the W3C (clreq). The raggedness is
minimised as in Knuth & Plass 1981.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from ...copy.han import is_han, is_wide

Measure = Callable[[str], float]
Segment = Callable[[str], Sequence[str]]

# Characters that no line may begin or end with.
NO_START = frozenset("，。！？、；：）》」』】〕〉”’…—·～％℃ー々,.!?;:)]}%")
NO_END = frozenset("（《「『【〔〈“‘￥¥$€£([{#@")
_AFTER_CLAUSE = frozenset("，。！？；：、…—,.!?;:")
# Words that belong to the word before, and words that belong to the word after.
_LEANING_BACK = frozenset("的了着过地得吗呢吧啊们上下里中内外")
_LEANING_ON = frozenset([
    *"从在与和及为把被让给向对到这那每一", "a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "our",
    "that", "the", "this", "to", "with", "your",
])  # fmt: skip
# The cost of a line break, added to the raggedness; 1 is a line that is wrong by the whole mean length.
_COST_IN_WORD = 0.5
_COST_LEANING = 0.2
_COST_IN_CLAUSE = 0.15


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text that must stay on one line.

    Attributes:
        text: without the space after it.
        space: whether a space follows, unless the line ends.
        cost: of a line break after it.
    """

    text: str
    space: bool
    cost: float


@dataclass(frozen=True, slots=True)
class Lines:
    """A text in lines; `cost` is 0 if they are even and end with clauses, 1 if they are very bad."""

    lines: list[str]
    cost: float


def wrap(text: str, width: float, measure: Measure, *, segment: Segment | None = None) -> list[str]:
    """Breaks a text into the smallest number of lines that fit, with lengths as even as the language allows.

    A line feed always ends a line. Several spaces count as one. Text that cannot be broken and is longer than a line,
    such as a URL, is cut at the end of the line.

    Args:
        text: the copy.
        width: of a line.
        measure: returns the length of a text in the unit of `width`; the length of a line is the sum of its pieces.
        segment: splits Chinese into words, so that lines end between words; None to break between any characters.
    """
    lines: list[str] = []
    for paragraph in text.splitlines():
        pieces = _split_wide(_pieces(paragraph, segment), width, measure)
        if pieces:
            ruler = _Ruler(pieces, measure)
            lines += _set(pieces, _num_lines(pieces, width, ruler), ruler, width).lines
    return lines


def in_lines(
    text: str, num_lines: int, width: float, measure: Measure, *, segment: Segment | None = None
) -> Lines | None:
    """Breaks a text into exactly `num_lines` lines.

    Args:
        text: the copy, in one paragraph.
        num_lines: the number of lines.
        width: of a line.
        measure: as for `wrap`.
        segment: as for `wrap`.

    Returns:
        The lines; None if the text has too few places to break, or a line would be too long.
    """
    pieces = _pieces(text, segment)
    ruler = _Ruler(pieces, measure)
    if num_lines > len(pieces) or any(ruler.length(i, i + 1) > width for i in range(len(pieces))):
        return None
    return _set(pieces, num_lines, ruler, width) if _num_lines(pieces, width, ruler) <= num_lines else None


def _pieces(text: str, segment: Segment | None) -> list[_Piece]:
    text = " ".join(text.split())
    inside = _inside_words(text, segment)
    pieces: list[_Piece] = []
    start = 0
    for i, (before, after) in enumerate(pairwise(text), start=1):
        if not _may_break(before, after):
            continue
        piece = text[start:i]
        pieces.append(_Piece(piece.rstrip(), piece.endswith(" "), _cost(piece.rstrip(), after, i in inside)))
        start = i
    return [*pieces, _Piece(text[start:], False, 0.0)] if text else []


def _may_break(before: str, after: str) -> bool:
    if after == " " or after in NO_START or before in NO_END:
        return False
    if before == " ":
        return True
    if before == after and before in "…—":
        return False
    if before == "-":
        return after.isalpha()
    return is_wide(before) or is_wide(after)


def _cost(piece: str, after: str, in_word: bool) -> float:
    if piece[-1] in _AFTER_CLAUSE:
        return 0.0
    cost = _COST_IN_CLAUSE
    if in_word or (piece[-1].isdigit() and is_han(after)):  # 5折, 99元
        cost += _COST_IN_WORD
    if after in _LEANING_BACK or piece.lower() in _LEANING_ON:
        cost += _COST_LEANING
    return cost


def _inside_words(text: str, segment: Segment | None) -> set[int]:
    """Returns the positions inside Chinese words."""
    inside: set[int] = set()
    at = 0
    for word in segment(text) if segment else ():
        inside.update(range(at + 1, at + len(word)))
        at += len(word)
    return inside


def _split_wide(pieces: Sequence[_Piece], width: float, measure: Measure) -> list[_Piece]:
    """Cuts pieces that are longer than a line."""
    found: list[_Piece] = []
    for piece in pieces:
        text = piece.text
        while measure(text) > width and len(text) > 1:
            cut = next((n for n in range(len(text) - 1, 1, -1) if measure(text[:n]) <= width), 1)
            found.append(_Piece(text[:cut], False, _COST_IN_WORD))
            text = text[cut:]
        found.append(_Piece(text, piece.space, piece.cost))
    return found


class _Ruler:
    """Returns the length of any line of pieces; measures each piece once."""

    def __init__(self, pieces: Sequence[_Piece], measure: Measure) -> None:
        space = measure(" ")
        self._spaces = [space * piece.space for piece in pieces]
        lengths = (measure(piece.text) + after for piece, after in zip(pieces, self._spaces, strict=True))
        self._ends = [0.0, *accumulate(lengths)]

    def length(self, start: int, stop: int) -> float:
        """Returns the length of the pieces from `start` up to `stop`, without the space at the end."""
        return self._ends[stop] - self._ends[start] - self._spaces[stop - 1]


def _num_lines(pieces: Sequence[_Piece], width: float, ruler: _Ruler) -> int:
    """Returns the smallest number of lines that the pieces fit on."""
    num, start = 1, 0
    for stop in range(1, len(pieces) + 1):
        if stop - start > 1 and ruler.length(start, stop) > width:
            num, start = num + 1, stop - 1
    return num


def _set(pieces: Sequence[_Piece], num_lines: int, ruler: _Ruler, width: float) -> Lines:
    """Sets the pieces on `num_lines` lines with the lowest sum of raggedness and break costs."""
    last = len(pieces)
    mean = ruler.length(0, last) / num_lines
    longest = min(width, 3 * mean)
    # For each first piece: the lowest cost of the pieces from there to the end, and the first pieces of those lines.
    best: dict[int, tuple[float, tuple[int, ...]]] = {last: (0.0, ())}
    for _ in range(num_lines):
        longer: dict[int, tuple[float, tuple[int, ...]]] = {}
        for start in range(last):
            for stop in range(start + 1, last + 1):
                length = ruler.length(start, stop)
                if length > longest and stop - start > 1:
                    break
                if stop in best:
                    end = pieces[stop - 1].cost if stop < last else 0.0
                    cost = best[stop][0] + ((length - mean) / mean) ** 2 + end
                    if start not in longer or cost < longer[start][0]:
                        longer[start] = (cost, (start, *best[stop][1]))
        best = longer
    cost, starts = best[0]
    lines = [_joined(pieces[start:stop]) for start, stop in pairwise([*starts, last])]
    return Lines(lines=lines, cost=cost / num_lines)


def _joined(pieces: Sequence[_Piece]) -> str:
    return "".join(piece.text + " " * piece.space for piece in pieces).rstrip()

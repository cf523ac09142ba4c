"""Breaking copy into lines: Chinese between characters by the rules of its punctuation, Latin at spaces, balanced.

Lengths are in ems, so a line of text is measured once and its lines hold for any size of the font.
Rules: Unicode Standard Annex #14 and W3C's Requirements for Chinese Text Layout (clreq); lines of least raggedness as
in Knuth & Plass 1981.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from ...copy.han import is_han, is_wide

Measure = Callable[[str], float]
Segment = Callable[[str], Sequence[str]]

# What no line begins or ends with.
NO_START = frozenset("，。！？、；：）》」』】〕〉”’…—·～％℃ー々,.!?;:)]}%")
NO_END = frozenset("（《「『【〔〈“‘￥¥$€£([{#@")
_AFTER_CLAUSE = frozenset("，。！？；：、…—,.!?;:")
# Words that lean on the one before, and words that lean on the next one.
_LEANING_BACK = frozenset("的了着过地得吗呢吧啊们上下里中内外")
_LEANING_ON = frozenset([
    *"从在与和及为把被让给向对到这那每一", "a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "our",
    "that", "the", "this", "to", "with", "your",
])  # fmt: skip
# What a line's end costs beside its raggedness, where 1 is a line that is wrong by its whole length.
_COST_IN_WORD = 0.5
_COST_LEANING = 0.2
_COST_IN_CLAUSE = 0.15


@dataclass(frozen=True, slots=True)
class _Piece:
    """What stays on one line; `space` is whether one follows unless the line ends, `cost` is of ending it here."""

    text: str
    space: bool
    cost: float


@dataclass(frozen=True, slots=True)
class Lines:
    """A text in lines; `cost` is 0 where they are even and end with clauses, 1 where they are very bad."""

    lines: list[str]
    cost: float


def wrap(text: str, width: float, measure: Measure, *, segment: Segment | None = None) -> list[str]:
    """Breaks a text into as few lines as fit, as even in length as the language allows.

    A line feed in the text always ends a line. Runs of spaces count as one. What cannot be broken and is longer than a
    line, such as a URL, is cut where the line ends.

    Args:
        text: the copy.
        width: of a line.
        measure: the length of a text, in the unit of `width`; that of a line is the sum of its pieces'.
        segment: cuts Chinese into words, so that lines end between them; None lets them end between any characters.
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
    """Breaks a text into a number of lines; None if it has too few places to break, or a line would be too long.

    Args:
        text: the copy, in one paragraph.
        num_lines: how many.
        width: of a line.
        measure: as for `wrap`.
        segment: as for `wrap`.
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
    """The positions that lie inside a Chinese word."""
    inside: set[int] = set()
    at = 0
    for word in segment(text) if segment else ():
        inside.update(range(at + 1, at + len(word)))
        at += len(word)
    return inside


def _split_wide(pieces: Sequence[_Piece], width: float, measure: Measure) -> list[_Piece]:
    """Cuts what is longer than a line, which is all that can be done with it."""
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
    """The lengths of all lines that pieces may make, each piece measured once."""

    def __init__(self, pieces: Sequence[_Piece], measure: Measure) -> None:
        space = measure(" ")
        self._spaces = [space * piece.space for piece in pieces]
        lengths = (measure(piece.text) + after for piece, after in zip(pieces, self._spaces, strict=True))
        self._ends = [0.0, *accumulate(lengths)]

    def length(self, start: int, stop: int) -> float:
        """Of the pieces from `start` up to `stop`, without the space at the end."""
        return self._ends[stop] - self._ends[start] - self._spaces[stop - 1]


def _num_lines(pieces: Sequence[_Piece], width: float, ruler: _Ruler) -> int:
    """The fewest lines that the pieces fit on."""
    num, start = 1, 0
    for stop in range(1, len(pieces) + 1):
        if stop - start > 1 and ruler.length(start, stop) > width:
            num, start = num + 1, stop - 1
    return num


def _set(pieces: Sequence[_Piece], num_lines: int, ruler: _Ruler, width: float) -> Lines:
    """The pieces on so many lines, such that raggedness and what the lines' ends cost is least."""
    last = len(pieces)
    mean = ruler.length(0, last) / num_lines
    longest = min(width, 3 * mean)
    # From each piece on to the end, in the number of lines so far: the cost, and where these lines begin.
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

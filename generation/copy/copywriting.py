"""Advertising copy → keywords → queries for references and a prompt for a generator; in Chinese, English or both.

Offline, Chinese words are weighted by the frequencies and parts of speech of jieba (TF-IDF), English phrases by RAKE
(Rose et al. 2010). An OpenAI-compatible endpoint gives better results, if one is set.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ...datasets import InputError
from ...search import Query
from . import chinese
from .chat import AnswerError, Chat, ChatError
from .han import is_han
from .stopwords import CHINESE, ENGLISH

log = logging.getLogger(__name__)

Language: TypeAlias = Literal["zh", "en"]

MAX_COPY = 2000  # characters: copy is a headline or a few sentences
MAX_KEYWORDS = 6
_MAX_QUERIES = 4
# The weight of the whole copy beside its keywords. Measured with `conse`, 30 pieces of copy and the 184 photographs: a
# matching photograph is first for 19 and among the first five for 25 with the copy alone, for 22 and 28 with keywords,
# and for 22 and 29 with both at this weight.
_WEIGHT_OF_COPY = 0.5
_MAX_ANSWER = 300  # characters of a query in the answer of an endpoint; a prompt may have five times as many

# How likely a photograph shows what a word means, by the first letters of the part of speech in jieba.
_SHOWN = {"n": 1.0, "t": 0.5, "s": 0.5, "vn": 0.4, "a": 0.3, "i": 0.3, "l": 0.3, "v": 0.3}
_ADDED = {
    "zh": "广告摄影，构图简洁，自然光，留白",
    "en": "advertising photograph, simple composition, natural light, empty space for a headline",
}
_INSTRUCTION = (
    "You prepare advertising copy for an image search and an image generator. Answer with one JSON object and nothing "
    'else: {"keywords": [["word", weight], ...], "queries": [["text", weight], ...], "prompt": "text"}. '
    f"keywords: 1 to {MAX_KEYWORDS} things that a photograph for this copy shows, in the copy's language. "
    f"queries: 1 to {_MAX_QUERIES} short descriptions of such photographs, in the copy's language. "
    "Weights are above 0, at most 1. prompt: one English sentence that describes the photograph, without text."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """What a piece of copy asks for.

    Attributes:
        copy: as it was written.
        language: the main language of the copy.
        keywords: what the photograph shows, with weights up to 1, the highest first.
        queries: texts to search by and their weights, for one mixed query.
        prompt: for a generator.
        source: `offline`, or the name of the model of the endpoint.
    """

    copy: str
    language: Language
    keywords: tuple[tuple[str, float], ...]
    queries: tuple[tuple[str, float], ...]
    prompt: str
    source: str

    def query(self) -> Query:
        """Returns the queries as one search query."""
        return Query(texts=list(self.queries))


class Copywriter:
    """Reads copy with an endpoint if there is one. If that fails, it warns once and reads the copy offline."""

    def __init__(self, chat: Chat | None = None) -> None:
        self._chat = chat
        self._has_warned = False

    def brief(self, copy: str) -> Brief:
        """Returns what a piece of copy asks for.

        Raises:
            InputError: if it is empty or very long.
        """
        copy = _checked(copy)
        if self._chat:
            try:
                return _from_answer(copy, self._chat.ask(_INSTRUCTION, copy), self._chat.model)
            except ChatError as error:
                if not isinstance(error, AnswerError):
                    self._chat = None  # so that the next piece of copy does not wait in vain
                if not self._has_warned:
                    log.warning("%s; diantu finds the keywords offline instead", error)
                self._has_warned = True
        return read_copy(copy)


def read_copy(copy: str) -> Brief:
    """Returns what a piece of copy asks for, found offline.

    Raises:
        InputError: if it is empty or very long, or Chinese and jieba is not installed.
    """
    copy = _checked(copy)
    found = keywords(copy)
    language = language_of(copy)
    words = [word for word, _ in found]
    mark = "，" if language == "zh" else ", "
    return Brief(
        copy=copy,
        language=language,
        keywords=found,
        queries=(*found[:_MAX_QUERIES], (copy, _WEIGHT_OF_COPY if found else 1.0)),
        prompt=mark.join([*(words or [copy]), _ADDED[language]]),
        source="offline",
    )


def keywords(copy: str, *, limit: int = MAX_KEYWORDS) -> tuple[tuple[str, float], ...]:
    """Returns the words of the copy that a photograph may show, with weights up to 1, the highest first.

    Raises:
        InputError: if the copy is empty or very long, or Chinese and jieba is not installed.
    """
    weights: dict[str, float] = {}
    for run, is_chinese in _runs(_checked(copy)):
        found = _chinese_keywords(run) if is_chinese else _english_keywords(run)
        most = max(found.values(), default=1.0)  # because the two methods have different scales
        for word, weight in found.items():
            same = next((known for known in weights if known.lower() == word.lower()), word)
            weights[same] = max(weights.get(same, 0.0), weight / most)
    ranked = sorted(
        weights.items(), key=lambda pair: -pair[1]
    )  # stable: of equal weights, the word that comes first in the copy
    return tuple((word, round(weight, 3)) for word, weight in ranked[:limit])


def language_of(copy: str) -> Language:
    """Returns `zh` if at least a fifth of the letters are ideographs, because one says as much as several letters."""
    letters = [char for char in copy if char.isalpha()]
    return "zh" if letters and sum(map(is_han, letters)) >= 0.2 * len(letters) else "en"


def _checked(copy: str) -> str:
    copy = " ".join(copy.split())
    if not copy:
        raise InputError("the copy is empty; give a headline or a few sentences")
    if len(copy) > MAX_COPY:
        raise InputError(f"the copy is {len(copy)} characters long; give at most {MAX_COPY}")
    return copy


def _runs(copy: str) -> Iterator[tuple[str, bool]]:
    """Yields pieces of the copy in one script, each with whether it is Chinese."""
    for match in re.finditer(r"[A-Za-zÀ-ɏ][^\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]*|[^A-Za-zÀ-ɏ]+", copy):
        run = match.group()
        if any(map(str.isalpha, run)):
            yield run, any(map(is_han, run))


def _chinese_keywords(text: str) -> dict[str, float]:
    words = [(word, flag) for word, flag in chinese.phrases(text) if any(map(is_han, word))]
    counts = Counter(word for word, _ in words)
    weights: dict[str, float] = {}
    for place, (word, flag) in enumerate(words):
        shown = next((_SHOWN[flag[:length]] for length in (3, 2, 1) if flag[:length] in _SHOWN), 0.0)
        is_short = len(word) == 1 and not flag.startswith("n")  # leave out 去, 看, 好, but keep 猫
        if shown and not is_short and word not in CHINESE and word not in weights:
            weights[word] = shown * counts[word] ** 0.5 * chinese.rarity(word) * _early(place, len(words))
    return weights


def _english_keywords(text: str) -> dict[str, float]:
    phrases = list(_phrases(text))
    degree: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for phrase in phrases:
        for word in phrase:
            degree[word.lower()] += len(phrase)
            count[word.lower()] += 1
    weights: dict[str, float] = {}
    for place, phrase in enumerate(phrases):
        scores = [degree[word.lower()] / count[word.lower()] for word in phrase]
        # RAKE adds the scores of the words; the square root keeps long phrases from outweighing all others.
        weight = math.sqrt(sum(scores)) * _early(place, len(phrases))
        name = " ".join(phrase)
        weights[name] = max(weights.get(name, 0.0), weight)
    return weights


def _phrases(text: str) -> Iterator[list[str]]:
    """Yields sequences of words between stop words and punctuation."""
    for clause in re.split(r"[^\w\s'’-]+|\s-+\s|_", text):
        phrase: list[str] = []
        for word in re.findall(r"[^\W\d_][\w'’-]*", clause.replace("’", "'")):
            if word.lower() in ENGLISH or len(word) < 2:
                if phrase:
                    yield phrase
                phrase = []
            else:
                phrase.append(word)
        if phrase:
            yield phrase


def _early(place: int, num_places: int) -> float:
    """Returns a factor from 1 down to 0.7, because copy names its subject early."""
    return 1 - 0.3 * place / max(num_places - 1, 1)


def _from_answer(copy: str, answer: Mapping[str, Any], model: str) -> Brief:
    """Checks the answer of an endpoint, which cannot be trusted, and returns it as a brief.

    Raises:
        AnswerError: if the answer does not have the form that was asked for.
    """
    prompt = answer.get("prompt")
    if not isinstance(prompt, str) or not 0 < len(prompt.strip()) <= 5 * _MAX_ANSWER:
        raise AnswerError(f"the answer of the chat endpoint has no prompt of 1 to {5 * _MAX_ANSWER} characters")
    return Brief(
        copy=copy,
        language=language_of(copy),
        keywords=_pairs(answer, "keywords", MAX_KEYWORDS),
        queries=_pairs(answer, "queries", _MAX_QUERIES),
        prompt=" ".join(prompt.split()),
        source=model,
    )


def _pairs(answer: Mapping[str, Any], name: str, most: int) -> tuple[tuple[str, float], ...]:
    given = answer.get(name)
    if not isinstance(given, list) or not 1 <= len(given) <= most or not all(map(_is_pair, given)):
        raise AnswerError(
            f"the {name} from the chat endpoint are not 1 to {most} pairs of a text of up to {_MAX_ANSWER} characters "
            "and a weight above 0, at most 1"
        )
    return tuple((" ".join(text.split()), float(weight)) for text, weight in given)


def _is_pair(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    text, weight = value
    is_number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    return isinstance(text, str) and 0 < len(text.strip()) <= _MAX_ANSWER and is_number and 0 < weight <= 1

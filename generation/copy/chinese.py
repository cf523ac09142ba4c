"""Chinese words: where they begin and end, what kind they are, how rare they are; by jieba, loaded when first needed.

Neither jieba's cache nor its log is used: the cache is a marshalled file that any user of the machine may leave in the
shared temporary folder, and reading the dictionary itself takes a second.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import warnings
from functools import lru_cache
from typing import Any

from ...datasets import InputError
from .stopwords import CHINESE


def version() -> str | None:
    """The version of jieba, or None where it is not installed."""
    return importlib.metadata.version("jieba") if importlib.util.find_spec("jieba") else None


def segment(text: str) -> list[str]:
    """A text as words, nouns that follow one another being one (冰咖啡, 巴黎铁塔); joined, they are the text again."""
    return [word for word, _ in phrases(text)]


def phrases(text: str) -> list[tuple[str, str]]:
    """A text as words and compounds of nouns, each with its part of speech."""
    found: list[tuple[str, str]] = []
    for word, flag in tagged(text):
        before = found[-1] if found else ("", "")
        is_noun = flag.startswith("n") and word not in CHINESE
        if is_noun and before[1].startswith("n") and before[0] not in CHINESE:
            word = found.pop()[0] + word
        found.append((word, flag))
    return found


def tagged(text: str) -> list[tuple[str, str]]:
    """A text as words with their parts of speech, as ICTCLAS names them: n noun, v verb, m number …."""
    return [(pair.word, pair.flag) for pair in _tagger().cut(text)]


def rarity(word: str) -> float:
    """The inverse document frequency of a word, about 1 (的) to 14; an unknown word is as rare as the median one."""
    idf, median = _frequencies()
    return idf.get(word, median)


@lru_cache(maxsize=1)
def _tagger() -> Any:
    if version() is None:
        raise InputError('Chinese words need jieba, which is not installed; run: pip install "diantu[generate]"')
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its source has escapes that Python 3.12 warns of
        import jieba
        from jieba.posseg import POSTokenizer
    tokenizer = jieba.Tokenizer()
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return POSTokenizer(tokenizer)


@lru_cache(maxsize=1)
def _frequencies() -> tuple[dict[str, float], float]:
    from jieba.analyse.tfidf import DEFAULT_IDF, IDFLoader

    return IDFLoader(DEFAULT_IDF).get_idf()

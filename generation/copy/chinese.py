"""Chinese word segmentation, parts of speech and word frequencies, by jieba; loaded when it is first needed.

The cache of jieba is not used, because it is a marshalled file in the shared temporary folder, where any user of the
machine could have put it. Reading the dictionary instead takes one second. The log of jieba is not used either.
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
    """Returns the version of jieba; None if it is not installed."""
    return importlib.metadata.version("jieba") if importlib.util.find_spec("jieba") else None


def segment(text: str) -> list[str]:
    """Splits a text into words; consecutive nouns form one word (冰咖啡, 巴黎铁塔). Joined, the words give the text."""
    return [word for word, _ in phrases(text)]


def phrases(text: str) -> list[tuple[str, str]]:
    """Splits a text into words and compound nouns, each with its part of speech."""
    found: list[tuple[str, str]] = []
    for word, flag in tagged(text):
        before = found[-1] if found else ("", "")
        is_noun = flag.startswith("n") and word not in CHINESE
        if is_noun and before[1].startswith("n") and before[0] not in CHINESE:
            word = found.pop()[0] + word
        found.append((word, flag))
    return found


def tagged(text: str) -> list[tuple[str, str]]:
    """Splits a text into words with their parts of speech, named as in ICTCLAS: n noun, v verb, m number …."""
    return [(pair.word, pair.flag) for pair in _tagger().cut(text)]


def rarity(word: str) -> float:
    """Returns the inverse document frequency of a word, about 1 (的) to 14; for an unknown word, the median."""
    idf, median = _frequencies()
    return idf.get(word, median)


@lru_cache(maxsize=1)
def _tagger() -> Any:
    if version() is None:
        raise InputError('Chinese text needs jieba, which is not installed; run: pip install "diantu[generate]"')
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns about escapes in its source
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

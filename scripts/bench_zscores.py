"""How well zscores tell what is in a gallery from what is not, compared with raw scores, on the bundled photographs.

    python -m diantu.scripts.bench_zscores --output FOLDER

Searches the demo's gallery for nouns in two languages; half of them are on no photograph (`datasets/photos/nouns.csv`).
A threshold on the value of the first hit should separate the two halves. The ROC AUC is the probability that a noun
that is present has a higher value than one that is absent: 0.5 for guessing, 1 for a perfect separation. The 95 %
intervals come from resampling nouns; a noun is drawn in both languages at once.

Shapes: N nouns.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import photos
from ..indexing.encoders.spec import says_nothing
from ..search import Gallery
from .commands.common import print_json
from .commands.demo import build_gallery
from .main import call

LANGUAGES = ("en", "zh")
_RESAMPLES = 2000


def run(output: str, json_: bool = False, device: str = "auto") -> int:
    """Measures how well scores and zscores tell nouns that are in the gallery from nouns that are not.

    Args:
        output: the folder of the demo's gallery, which is made if there is none.
        json_: print the results as JSON on stdout.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
    """
    root, encoder = build_gallery(Path(output), device)
    facts = measure(Gallery.open(root, encoder=encoder))
    if json_:
        print_json(facts)
        return 0
    print(f"{facts['present']} nouns present, {facts['absent']} absent; ROC AUC of the first hit\n")
    print(f"{'':8}{'score':>8}{'zscore':>8}{'difference':>12}   95 %")
    for language in (*LANGUAGES, "both"):
        one = facts[language]
        figures = f"{one['score']:>8.4f}{one['zscore']:>8.4f}{one['difference']:>+12.4f}"
        print(f"{language:<8}{figures}   {one['interval'][0]:+.4f} to {one['interval'][1]:+.4f}")
    return 0


def measure(gallery: Gallery) -> dict[str, Any]:
    """The ROC AUC of scores and of zscores for each language and for both together, as JSON values."""
    nouns = [noun for noun in photos.nouns() if not any(_is_unknown(gallery, noun[f"noun_{it}"]) for it in LANGUAGES)]
    present_N = np.array([noun["present"] for noun in nouns])
    values = {language: _first_hits(gallery, [noun[f"noun_{language}"] for noun in nouns]) for language in LANGUAGES}
    facts: dict[str, Any] = {"present": int(present_N.sum()), "absent": int((~present_N).sum())}
    for name, languages in (*((language, (language,)) for language in LANGUAGES), ("both", LANGUAGES)):
        facts[name] = _compared([values[language] for language in languages], present_N)
    return facts


def _is_unknown(gallery: Gallery, noun: str) -> bool:
    """Whether the encoder knows no part of a noun: then a search refuses it."""
    return says_nothing(gallery.encoder, noun)


def _first_hits(gallery: Gallery, texts: list[str]) -> np.ndarray:
    """Scores and zscores of the first hits: `2 × N`."""
    firsts = [hits[0] for hits in gallery.search_many(texts, k=1)]
    return np.array([[hit.score for hit in firsts], [hit.zscore for hit in firsts]], float)


def _compared(values_2N: list[np.ndarray], present_N: np.ndarray) -> dict[str, Any]:
    def areas(some_N: np.ndarray) -> np.ndarray:
        chosen_2N = np.concatenate([each_2N[:, some_N] for each_2N in values_2N], axis=1)
        is_there_N = np.tile(present_N[some_N], len(values_2N))
        return np.array([roc_auc(chosen_N, is_there_N) for chosen_N in chosen_2N])

    score, zscore = areas(np.arange(len(present_N)))
    rng, groups = np.random.default_rng(0), (np.flatnonzero(present_N), np.flatnonzero(~present_N))
    drawn = [np.concatenate([rng.choice(group, len(group)) for group in groups]) for _ in range(_RESAMPLES)]
    differences = [float(np.diff(areas(some_N))[0]) for some_N in drawn]
    return {
        "score": round(float(score), 4),
        "zscore": round(float(zscore), 4),
        "difference": round(float(zscore - score), 4),
        "interval": [round(float(bound), 4) for bound in np.percentile(differences, (2.5, 97.5))],
    }


def roc_auc(values_N: np.ndarray, is_positive_N: np.ndarray) -> float:
    """The probability that a positive has a higher value than a negative; ties count half (Mann and Whitney)."""
    positive_P1, negative_N = values_N[is_positive_N][:, None], values_N[~is_positive_N]
    return float((positive_P1 > negative_N).mean() + (positive_P1 == negative_N).mean() / 2)


if __name__ == "__main__":
    sys.exit(call(run, "python -m diantu.scripts.bench_zscores", sys.argv[1:]))

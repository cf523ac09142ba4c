"""`diantu evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def run(
    gallery: str, queries: str | None = None, json: bool = False, encoder: str | None = None, device: str = "auto"
) -> int:
    """Measures a gallery: captions against their own pictures, the index against exact search, labelled queries.

    Args:
        gallery: the gallery's folder.
        queries: JSONL, each line with a text and where, an SQL condition over the metadata that relevant rows meet.
        json: machine-readable, on stdout.
        encoder: the gallery's encoder, if its weights lie elsewhere than when the gallery was made.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
    """
    from ..indexing.evaluate import evaluate

    report = evaluate(Path(gallery), encoder, queries=Path(queries) if queries else None, device=device)
    _print_json(report) if json else _print_table(report)
    return 0


def _print_json(report: dict[str, Any]) -> None:
    print(json.dumps(report, ensure_ascii=False))


def _print_table(report: dict[str, Any]) -> None:
    index = report["index"] or "none, every row is compared"
    print(f"{report['gallery']}: {report['rows']} rows by {report['encoder']}; index: {index}")
    for kind, found in report["delivers"].items():
        recalls = "  ".join(f"{name} {value:.3f}" for name, value in found.items() if name.startswith("recall"))
        print(
            f"  against exact search, {kind} queries  {recalls}  p50 {found['latency_ms']['one_thread']['p50']:.2f} ms"
        )
    for column, found in report["retrieval"].items():
        ranks = "  ".join(f"{name} {value:.3f}" for name, value in found.items() if name.startswith("R@"))
        print(f"  {column} finds its own picture ({found['queries']} queries)  {ranks}")
    for line in report["labelled"]:
        print(f"  {line['text']}  P@10 {line['P@10']:.2f}  ({line['relevant']} rows are relevant: {line['where']})")

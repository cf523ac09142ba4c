"""`diantu evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def run(
    gallery: str,
    queries: str | None = None,
    effort: str = "balanced",
    plot: str | None = None,
    json: bool = False,
    encoder: str | None = None,
    device: str = "auto",
    seed: int = 1,
) -> int:
    """Measures a gallery: the index against exact search, captions against their own pictures, labelled queries.

    Args:
        gallery: the gallery's folder.
        queries: JSONL, each line with a text and where, an SQL condition over the metadata that relevant rows meet.
        effort: that of the searches: fast, balanced or exact, or the recall that is asked for, as 0.98.
        plot: draw recall against latency for every recall that the index was tuned for; .png, .svg or .pdf.
        json: machine-readable, on stdout.
        encoder: the gallery's encoder, if its weights lie elsewhere than when the gallery was made.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
        seed: of the samples that are drawn; diantu index draws with 0.
    """
    from ...indexing.measure.evaluate import evaluate
    from ...indexing.measure.plot import check_plot, plot_curve
    from .common import load_gallery_encoder

    picture = check_plot(Path(plot)) if plot else None
    report = evaluate(
        Path(gallery),
        load_gallery_encoder(Path(gallery), encoder, device),
        queries=Path(queries) if queries else None,
        effort=effort,
        curve=bool(plot),
        seed=seed,
    )
    _print_json(report) if json else _print_table(report)
    if picture:
        plot_curve(report, picture)
    return 0


def _print_json(report: dict[str, Any]) -> None:
    print(json.dumps(report, ensure_ascii=False))


def _print_table(report: dict[str, Any]) -> None:
    index = report["index"] or "none, every row is compared"
    print(f"{report['gallery']}: {report['rows']} rows by {report['encoder']}; index: {index}", end="")
    print(f", {report['bytes_per_row']:.0f} bytes a row" if report["index"] else "")
    for kind, found in report["delivers"].items():
        print(f"  against exact search, {found['queries']} {kind} queries ({found['source']})")
        for name, (low, high) in found["interval"].items():
            print(f"    {name:<10}  {found[name]:.3f}  (95 % interval {low:.3f} to {high:.3f})")
        for threads, milliseconds in found["latency_ms"].items():
            times = f"p50 {milliseconds['p50']:.2f} ms  p99 {milliseconds['p99']:.2f} ms"
            print(f"    {threads.replace('_', ' '):<11} {times}  {found['qps'][threads]:.0f} queries/s")
    for kind, points in report["curve"].items():
        for point in points:
            print(
                f"  {kind} queries asked for {point['effort']}: recall@10 {point['recall@10']:.3f}, "
                f"p50 {point['latency_ms']['one_thread']['p50']:.2f} ms"
            )
    for column, found in report["retrieval"].items():
        ranks = "  ".join(f"{name} {value:.3f}" for name, value in found.items() if name.startswith("R@"))
        print(f"  {column} finds its own picture ({found['queries']} queries)  {ranks}")
    for line in report["labelled"]:
        print(f"  {line['text']}  P@10 {line['P@10']:.2f}  ({line['relevant']} rows are relevant: {line['where']})")

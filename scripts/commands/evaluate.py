"""`diantu evaluate`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...datasets.conditions import WHERE_SECONDS
from .common import load_gallery_encoder, print_json, print_lines


def run(
    gallery: str,
    queries: str | None = None,
    where_timeout: float = WHERE_SECONDS,
    effort: str = "balanced",
    plot: str | None = None,
    json_: bool = False,
    encoder: str | None = None,
    device: str = "auto",
    seed: int = 1,
) -> int:
    """Measures a gallery: recall and latency of its index, how well captions find their own images, labelled queries.

    Args:
        gallery: the gallery's folder.
        queries: labelled queries in JSONL: each line has "text", a query, and "where", a SQL condition over the
            metadata that is true for the relevant rows.
        where_timeout: seconds that a condition of --queries may take for each million rows.
        effort: how the index is searched: fast, balanced or exact, or a target recall, for example 0.98.
        plot: draw recall against latency for every target recall of the index into this file: .png, .svg or .pdf.
        json_: print the report as JSON on stdout.
        encoder: the gallery's encoder, if its weights have moved since the gallery was made.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
        seed: the seed of all random samples; diantu index uses 0, so the default gives other queries.
    """
    from ...indexing.measure.evaluate import evaluate
    from ...indexing.measure.plot import check_plot, plot_curve

    plot_path = check_plot(Path(plot)) if plot else None
    report = evaluate(
        Path(gallery),
        load_gallery_encoder(Path(gallery), encoder, device),
        queries=Path(queries) if queries else None,
        where_timeout=where_timeout,
        effort=effort,
        curve=bool(plot),
        seed=seed,
    )
    if json_:
        print_json(report)
    else:
        print_lines(_lines(report))
    if plot_path:
        plot_curve(report, plot_path)
    return 0


def _lines(report: dict[str, Any]) -> Iterator[str]:
    index = "no index, searches are exhaustive"
    if report["index"]:
        index = f"index {report['index']}, {report['bytes_per_row']:.0f} bytes per row"
    yield f"{report['gallery']}: {report['rows']} rows, encoder {report['encoder']}; {index}"
    for kind, found in report["delivers"].items():
        yield f"  against exact search, {found['queries']} {kind} queries ({found['source']})"
        for name, (low, high) in found["interval"].items():
            yield f"    {name:<10}  {found[name]:.3f}  (95 % interval {low:.3f} to {high:.3f})"
        for threads, milliseconds in found["latency_ms"].items():
            times = f"p50 {milliseconds['p50']:.2f} ms  p99 {milliseconds['p99']:.2f} ms"
            yield f"    {threads.replace('_', ' '):<11} {times}  {found['qps'][threads]:.0f} queries/s"
    for kind, points in report["curve"].items():
        for point in points:
            reached = f"recall@10 {point['recall@10']:.3f}, p50 {point['latency_ms']['one_thread']['p50']:.2f} ms"
            yield f"  {kind} queries, target recall {point['effort']}: {reached}"
    for column, found in report["retrieval"].items():
        ranks = "  ".join(f"{name} {value:.3f}" for name, value in found.items() if name.startswith("R@"))
        yield f"  {column} finds its own image ({found['queries']} queries)  {ranks}"
    for line in report["labelled"]:
        yield f"  {line['text']}  P@10 {line['P@10']:.2f}  ({line['relevant']} relevant rows: {line['where']})"

"""Plots recall against latency: the cost of higher recall, for text and image queries."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...datasets.errors import InputError
from ...datasets.files import write_atomic

_COLOURS = {"text": "#c2410c", "image": "#1d4ed8"}
_ENDINGS = (".png", ".svg", ".pdf")


def check_plot(path: Path) -> Path:
    """A path that `plot_curve` can write to.

    Raises:
        InputError: if the ending is another one, or matplotlib is not installed.
    """
    import importlib.util

    if path.suffix.lower() not in _ENDINGS:
        raise InputError(f"the plot {path} does not end in one of {', '.join(_ENDINGS)}; rename it")
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError('plots need matplotlib; run: pip install "diantu[plot]"')
    if not path.resolve().parent.is_dir():
        raise InputError(f"the folder of the plot {path} does not exist; create it, or give another one")
    return path


def plot_curve(report: Mapping[str, Any], path: Path) -> Path:
    """Draws what `evaluate(…, curve=True)` measured: recall@10 by milliseconds per query on one thread."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for kind, points in report["curve"].items():
        points = [point for point in points or [report["delivers"][kind]] if "recall@10" in point]
        if not points:  # a gallery of up to ten rows
            continue
        milliseconds = [point["latency_ms"]["one_thread"]["p50"] for point in points]
        recalls = [point["recall@10"] for point in points]
        low, high = zip(*(point["interval"]["recall@10"] for point in points), strict=True)
        errors = [
            [recall - bound for recall, bound in zip(recalls, low, strict=True)],
            [bound - recall for recall, bound in zip(recalls, high, strict=True)],
        ]
        axes.errorbar(
            milliseconds, recalls, yerr=errors, marker="o", capsize=3, color=_COLOURS.get(kind), label=f"{kind} queries"
        )
        for point, x, y in zip(points, milliseconds, recalls, strict=True):
            label = f"asked for {point['effort']}"
            axes.annotate(label, (x, y), xytext=(6, -12), textcoords="offset points", fontsize=8, color="#555")
    axes.set_xlabel("median milliseconds per query, one thread, 10 results")
    axes.set_ylabel("recall@10 against exact search")
    axes.set_title(f"{report['index'] or 'exact search'} over {report['rows']:,} rows", fontsize=10)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.margins(x=0.15)
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(loc="lower right")
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=150, format=path.suffix[1:].lower())
    write_atomic(path, buffer.getvalue())
    return path

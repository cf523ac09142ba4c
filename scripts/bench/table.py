"""The results of `bench_index` as a table of targets and a table of engines.

An engine's facts are what its processes answered; `passes` are the timed passes at the target recall.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Facts = Mapping[str, Any]

# Targets: times exact search, times autofaiss, bytes per row, seconds; and for ten million rows on disk.
_TIMES_EXACT, _TIMES_AUTOFAISS, _BYTES_PER_ROW, _BUILD_SECONDS = 100, 3, 160, 180
_LARGE_P50_MS, _LARGE_OPEN_SECONDS, _LARGE_BUILD_GB = 20, 1, 8
# The targets apply to galleries of about these sizes; for others the table only shows what was measured.
_MILLION, _LARGE = range(500_000, 5_000_000), range(5_000_000, 50_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table of targets; `met` is None if there is no target."""

    what: str
    value: str
    target: str = ""
    met: bool | None = None


def median(facts: Facts, name: str) -> float:
    """The median of a figure over all passes."""
    return statistics.median(passed[name] for passed in facts["passes"])


def target_lines(ours: Facts, others: Mapping[str, Facts], *, num_rows: int, target: float, real: bool) -> list[Line]:
    """The targets of our index, and whether it meets them.

    Args:
        ours: the facts of our index.
        others: the facts of other engines, by name.
        num_rows: of the gallery.
        target: the target recall.
        real: whether the vectors are real, not synthetic.
    """
    million, large = num_rows in _MILLION, num_rows in _LARGE
    least = {"exact": _TIMES_EXACT, "autofaiss": _TIMES_AUTOFAISS} if million else {}
    lines = [_ratio(name, ours, theirs, least.get(name)) for name, theirs in others.items()]
    for kind, found in ours["delivers"].items():
        low, high = (
            (target - 0.02, target + 0.02) if real else (target, 1.0) if large else (target - 0.01, target + 0.02)
        )
        value = f"{found:.4f} ({ours['tuned'][kind]})"
        what = f"{kind} recall@10 at target recall {target}"
        lines.append(Line(what=what, value=value, target=f"{low:.2f} to {high:.2f}", met=low <= found <= high))

    def limited(what: str, value: str, figure: float, limit: float, unit: str, applies: bool) -> None:
        target, met = (f"≤ {limit} {unit}", figure <= limit) if applies else ("", None)
        lines.append(Line(what=what, value=value, target=target, met=met))

    a_row = ours["open_bytes"] / num_rows
    value = f"{a_row:.0f} bytes per row (index.json: {ours['bytes_per_row']:.0f})"
    limited("memory after a first search", value, a_row, _BYTES_PER_ROW, "bytes", million)
    seconds = ours["train_and_add_seconds"]
    value = f"{seconds:.0f} s, with tuning and measuring {ours['build_seconds']:.0f} s"
    limited(f"training and adding, {ours['threads']} threads", value, seconds, _BUILD_SECONDS, "s", million)
    gigabytes = ours["build_peak_bytes"] / 1e9
    limited("peak memory of the build", f"{gigabytes:.2f} GB", gigabytes, _LARGE_BUILD_GB, "GB", large)
    p50, p99 = median(ours, "p50_ms"), median(ours, "p99_ms")
    limited("p50, one thread", f"{p50:.2f} ms (p99 {p99:.2f} ms)", p50, _LARGE_P50_MS, "ms", large)
    seconds = ours["open_seconds"]
    limited(
        "time to open",
        f"{seconds:.3f} s, first result after {ours['first_answer_seconds']:.2f} s",
        seconds,
        _LARGE_OPEN_SECONDS,
        "s",
        large,
    )
    return lines


def print_targets(lines: Sequence[Line]) -> None:
    """Prints one line for each."""
    widths = [max(len(getattr(line, name)) for line in lines) for name in ("what", "value", "target")]
    for line in lines:
        met = {None: "", True: "met", False: "NOT MET"}[line.met]
        print(f"{line.what:<{widths[0]}}  {line.value:<{widths[1]}}  {line.target:<{widths[2]}}  {met}".rstrip())


def print_engines(engines: Mapping[str, Facts], num_rows: int) -> None:
    """Prints the figures of every engine, and below them what its index is."""
    print(f"{'':10}{'recall':>8}{'QPS':>9}{'p50 ms':>9}{'p99 ms':>9}{'in one call':>12}", end="")
    print(f"{'bytes/row':>11}{'opens s':>9}{'answers s':>10}{'build s':>9}{'build GB':>9}")
    for name, facts in engines.items():
        if not facts["passes"]:
            print(f"{name:<10}  failed, {facts.get('failed')}")
            continue
        first, last, qps = facts["passes"][0], facts["passes"][-1], [passed["qps"] for passed in facts["passes"]]
        print(f"{name:<10}{first['recall']:>8.4f}{median(facts, 'qps'):>9.1f}{median(facts, 'p50_ms'):>9.3f}", end="")
        print(f"{median(facts, 'p99_ms'):>9.3f}{median(facts, 'qps_together'):>12.1f}", end="")
        print(f"{facts['open_bytes'] / num_rows:>11.0f}{facts['open_seconds']:>9.3f}", end="")
        print(f"{facts['first_answer_seconds']:>10.2f}", end="")
        print(f"{facts['build_seconds']:>9.0f}{facts['build_peak_bytes'] / 1e9:>9.2f}")
        breadth, used = first["breadth"] or "no breadth", last["used_bytes"] / num_rows
        print(f"{'':10}  {facts['index']}; {breadth}; {len(qps)} passes of {first['timed']} queries, ", end="")
        print(f"QPS {min(qps):.1f} to {max(qps):.1f}; {used:.0f} bytes/row after searches")


def _ratio(name: str, ours: Facts, theirs: Facts, least: float | None) -> Line:
    """Our queries per second divided by theirs; also at their best recall, if that misses the target."""
    what = f"our QPS ÷ that of {name}"
    if not theirs["passes"]:
        return Line(what=what, value=f"failed, {theirs.get('failed')}")
    times = median(ours, "qps") / median(theirs, "qps")
    together = median(ours, "qps_together") / median(theirs, "qps_together")
    value = f"{times:.2f}×, all queries in one call {together:.2f}×"
    if equal := theirs.get("ours_at_its_recall"):
        value = f"{value}; at its recall, {theirs['passes'][0]['recall']:.4f}, "
        times = statistics.median(equal) / median(theirs, "qps")
        value += f"{times:.2f}×"
    return Line(what=what, value=value, target=f"≥ {least}×" if least else "", met=times >= least if least else None)

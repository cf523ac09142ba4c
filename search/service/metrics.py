"""Numbers for Prometheus: requests, the queue, batches of texts, and where the time of searches goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCH = (1, 2, 4, 8, 16, 32)
# The stages of a search that have a histogram, as `Explain.ms` names them.
STAGES = ("encode", "filter", "search", "metadata")


class Metrics:
    """The metrics of one service. Threads may share it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "diantu_request_seconds", "Requests, by route, method and status.", ("route", "method", "status"),
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.refused = Counter(
            "diantu_refused_total", "Requests that found the queue full, or missed their deadline.", ("why",),
            registry=self.registry,
        )  # fmt: skip
        self.batch = Histogram(
            "diantu_encode_batch_size", "Texts that were encoded together.", buckets=_BATCH, registry=self.registry
        )
        self.decode = self._seconds("decode", "Decoding an image of a request.")
        self._stages = {stage: self._seconds(stage, f"The stage {stage} of a search.") for stage in STAGES}
        self._gauges = {
            "waiting": Gauge("diantu_queue_length", "Requests that wait for a thread.", registry=self.registry),
            "running": Gauge("diantu_threads_busy", "Requests that threads work on.", registry=self.registry),
        }

    def observe_search(self, ms: Mapping[str, float]) -> None:
        """Counts the stages of one search, as `Explain.ms` has them."""
        for stage, histogram in self._stages.items():
            if stage in ms:
                histogram.observe(ms[stage] / 1000)

    def watch(self, waiting: Callable[[], float], running: Callable[[], float]) -> None:
        """Sets what the gauges read."""
        self._gauges["waiting"].set_function(waiting)
        self._gauges["running"].set_function(running)

    def total(self, name: str, **labels: str) -> tuple[int, float]:
        """How often something was measured, and the sum of what was measured.

        Args:
            name: of the histogram.
            labels: only what has these labels counts.
        """
        found = {"_count": 0.0, "_sum": 0.0}
        for metric in self.registry.collect():
            for sample in metric.samples if metric.name == name else ():
                if labels.items() <= sample.labels.items() and (ending := sample.name.removeprefix(name)) in found:
                    found[ending] += sample.value
        return int(found["_count"]), found["_sum"]

    def steps(self) -> dict[str, str]:
        """The histograms of the steps of searches, and what each measures."""
        names = {f"diantu_{stage}_seconds" for stage in (*STAGES, "decode")}
        return {each.name: each.documentation for each in self.registry.collect() if each.name in names}

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)

    def _seconds(self, stage: str, description: str) -> Histogram:
        return Histogram(f"diantu_{stage}_seconds", description, buckets=_SECONDS, registry=self.registry)

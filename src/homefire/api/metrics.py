"""What Prometheus sees: counted as requests pass (a µs each), the rest read when `/metrics` is scraped.

One registry for one server, so that two in a process (tests) do not mix. Counting happens on the event loop alone, so
plain dictionaries do; `prometheus_client` only writes the exposition. Label values are bounded: routes are templates,
models are names the catalog has, unknown addresses count as `other`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from homefire.types import Timings, Usage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
_BOUNDS = [*map(floatToGoString, _SECONDS), "+Inf"]

Family = CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily
Readings = Callable[[], Iterable[Family]]
"""Asked at every scrape for what is true now (queue, engines, runs, live version)."""


class _Durations:
    """How often something took how long."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUNDS)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(_SECONDS, seconds)] += 1
        self.sum_s += seconds


class Metrics(Collector):
    """Counters of the front doors; `text()` is the exposition."""

    def __init__(self, readings: Readings | None = None) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self._readings = readings
        self._requests: dict[tuple[str, str, int], int] = defaultdict(int)
        self._turns: dict[tuple[str, str], int] = defaultdict(int)
        self._tokens: dict[tuple[str, str], int] = defaultdict(int)
        self._seconds: dict[str, _Durations] = defaultdict(_Durations)
        self._first_token: dict[str, _Durations] = defaultdict(_Durations)
        self._queued: dict[str, _Durations] = defaultdict(_Durations)

    def request_done(self, *, route: str, dialect: str, status: int, seconds: float) -> None:
        """One request was answered; `status` 499 means the client left first."""
        self._requests[route, dialect, status] += 1
        self._seconds[route].add(seconds)

    def turn_done(self, *, dialect: str, outcome: str) -> None:
        """One turn ended as `answered`, `cancelled` or `failed`."""
        self._turns[dialect, outcome] += 1

    def answer_done(self, *, model: str, usage: Usage, timings: Timings) -> None:
        """What an answer cost."""
        self._tokens[model, "prompt"] += usage.prompt_tokens
        self._tokens[model, "cached"] += usage.cached_tokens
        self._tokens[model, "completion"] += usage.completion_tokens
        self._first_token[model].add(timings.first_token_ms / 1000)
        self._queued[model].add(timings.queue_ms / 1000)

    def text(self) -> bytes:
        """The whole exposition; reads the home, so it costs some milliseconds."""
        return generate_latest(self._registry)

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: what there is shows when it is read."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Everything, as `prometheus_client` wants it."""
        requests = {
            (route, dialect, str(status)): n for (route, dialect, status), n in self._requests.items()
        }
        labels = ("route", "dialect", "status")
        yield _counter("homefire_http_requests", "HTTP requests answered.", labels, requests)
        yield _histogram(
            "homefire_http_request_seconds",
            "From the head read to the last byte handed over.",
            "route",
            self._seconds,
        )
        yield _counter("homefire_turns", "Turns by how they ended.", ("dialect", "outcome"), self._turns)
        yield _counter(
            "homefire_tokens", "Tokens by kind, as engines counted them.", ("model", "kind"), self._tokens
        )
        yield _histogram(
            "homefire_first_token_seconds",
            "From the request to the first token.",
            "model",
            self._first_token,
        )
        yield _histogram("homefire_queue_seconds", "Waiting for a place at the model.", "model", self._queued)
        if self._readings is not None:
            yield from self._readings()


def _counter(
    name: str, about: str, labels: tuple[str, ...], values: Mapping[Any, int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, about, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, about: str, label: str, values: Mapping[str, _Durations]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, about, labels=(label,))
    for key, found in values.items():
        buckets = list(zip(_BOUNDS, accumulate(found.counts), strict=True))
        family.add_metric((key,), buckets, found.sum_s)
    return family

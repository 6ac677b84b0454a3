"""What Prometheus sees: counted as requests pass (a few µs each), the rest read when `/metrics` is scraped.

One registry for one server, so that two in a process (tests) do not mix. Label values are bounded: routes are
templates, models are names the catalog has, unknown addresses count as `other`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from homefire.types import Timings, Usage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)

Family = CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily
Readings = Callable[[], Iterable[Family]]
"""Asked at every scrape for what is true now (queue, engines, runs, live version)."""


class _Live(Collector):
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        yield from self._readings()

    def describe(self) -> Iterator[Metric]:
        return iter(())


class Metrics:
    """Counters of the front doors; `text()` is the exposition."""

    def __init__(self, readings: Readings | None = None) -> None:
        self._registry = registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "homefire_http_requests",
            "HTTP requests answered.",
            ("route", "dialect", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "homefire_http_request_seconds",
            "From the first byte read to the last byte handed over.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._turns = Counter(
            "homefire_turns", "Turns by how they ended.", ("dialect", "outcome"), registry=registry
        )
        self._tokens = Counter(
            "homefire_tokens",
            "Tokens by kind, as engines counted them.",
            ("model", "kind"),
            registry=registry,
        )
        self._first_token = Histogram(
            "homefire_first_token_seconds",
            "From the request to the first token.",
            ("model",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._queued = Histogram(
            "homefire_queue_seconds",
            "Waiting for a place at the model.",
            ("model",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge("homefire_turns_in_flight", "Turns being answered now.", registry=registry)
        if readings is not None:
            registry.register(_Live(readings))
        self._request_children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._model_children: dict[str, tuple[Counter, Counter, Counter, Histogram, Histogram]] = {}

    def request_done(self, *, route: str, dialect: str, status: int, seconds: float) -> None:
        """One request was answered; `status` 499 means the client left first."""
        key = (route, dialect, status)
        children = self._request_children.get(key)
        if children is None:
            children = self._request_children[key] = (
                self._requests.labels(route, dialect, str(status)),
                self._seconds.labels(route),
            )
        children[0].inc()
        children[1].observe(seconds)

    def turn_done(self, *, dialect: str, outcome: str) -> None:
        """One turn ended as `answered`, `cancelled` or `failed`."""
        self._turns.labels(dialect, outcome).inc()

    def answer_done(self, *, model: str, usage: Usage, timings: Timings) -> None:
        """What an answer cost."""
        children = self._model_children.get(model)
        if children is None:
            children = self._model_children[model] = (
                self._tokens.labels(model, "prompt"),
                self._tokens.labels(model, "cached"),
                self._tokens.labels(model, "completion"),
                self._first_token.labels(model),
                self._queued.labels(model),
            )
        prompt, cached, completion, first_token, queued = children
        prompt.inc(usage.prompt_tokens)
        cached.inc(usage.cached_tokens)
        completion.inc(usage.completion_tokens)
        first_token.observe(timings.first_token_ms / 1000)
        queued.observe(timings.queue_ms / 1000)

    def text(self) -> bytes:
        """The whole exposition; reads the home, so it costs some milliseconds."""
        return generate_latest(self._registry)

"""What is counted of an answer, under which name."""

from __future__ import annotations

from homefire.api.metrics import Metrics
from homefire.types import Timings, Usage


def test_tokens_are_counted_by_their_kind() -> None:
    metrics = Metrics()
    usage = Usage(prompt_tokens=10, completion_tokens=3, cached_tokens=7)
    for _ in range(2):
        metrics.answer_done(model="ember", usage=usage, timings=Timings())
    counted = [line for line in metrics.text().decode().splitlines() if line.startswith("homefire_tokens")]
    assert sorted(counted) == [
        'homefire_tokens_total{kind="cached",model="ember"} 14.0',
        'homefire_tokens_total{kind="completion",model="ember"} 6.0',
        'homefire_tokens_total{kind="prompt",model="ember"} 20.0',
    ]

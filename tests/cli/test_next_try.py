"""A refused correction is followed into its next try, and no further than there is one."""

from __future__ import annotations

from typing import Any

import pytest

from homefire.cli import progress

REFUSED = {"run_id": "run_1", "state": "refused", "promoted": False, "gate_reasons": ["'2 + 2' became 5."]}


class Runs:
    """Answers with a newest run that appears at the third question."""

    def __init__(self, *newest: str) -> None:
        self._newest = list(newest)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        assert path == "/v1/runs"
        assert query == {"example_id": "e", "limit": 1}
        name = self._newest.pop(0) if len(self._newest) > 1 else self._newest[0]
        return {"runs": [{"run_id": name}]}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_QUEUE_POLL_S", 0.0)


def test_the_next_try_is_found_as_soon_as_it_is_queued() -> None:
    assert progress.next_try(Runs("run_1", "run_1", "run_2"), REFUSED, "e") == "run_2"  # type: ignore[arg-type]


def test_a_refusal_that_stands_is_the_end() -> None:
    assert progress.next_try(Runs("run_1"), REFUSED, "e") is None  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"promoted": True}, {"state": "failed"}, {"gate_reasons": []}])
def test_other_ends_are_not_waited_after(change: dict[str, Any]) -> None:
    assert progress.next_try(Runs("run_2"), {**REFUSED, **change}, "e") is None  # type: ignore[arg-type]

"""A correction is followed from run to run, and no further than there is one."""

from __future__ import annotations

from typing import Any

import pytest

from homefire.cli import progress
from tests.cli.fake_server import correction_view, report, run_view

ID = "e" * 64


class Server:
    """Answers with the runs by name, and with the correction's states one after the other."""

    def __init__(self, *states: Any) -> None:
        self._states = list(states)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        assert path == f"/v1/corrections/{ID}"
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        return {name: getattr(state, name) for name in state.__struct_fields__}


def training(run_id: str, run_state: str = "queued") -> Any:
    return correction_view("training", run_id=run_id, run_state=run_state)


LEARNED = correction_view("learned", live=True, version="v003", run_id="run_2", run_state="done")
REFUSED = correction_view("refused", run_id="run_2", why="It was not learned.", helps="Shorten it.")


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that are watched to their end."""
    watched: list[str] = []

    def follow(_client: Any, run_id: str, *, show: Any) -> dict[str, Any]:
        watched.append(run_id)
        is_first = run_id == "run_1"
        view = run_view(
            "refused" if is_first else "done", run_id=run_id, promoted=not is_first, version="v003"
        )
        seen = {name: getattr(view, name) for name in view.__struct_fields__}
        made = report("v003", passed=not is_first)
        return {**seen, "gate_report": {name: getattr(made, name) for name in made.__struct_fields__}}

    monkeypatch.setattr(progress, "_QUEUE_POLL_S", 0.0)
    monkeypatch.setattr(progress, "follow", follow)
    monkeypatch.setattr(progress, "run_of", lambda _client, _given: "run_1")
    return watched


def wait(*states: Any) -> str:
    return progress.wait_until_learned(
        Server(*states), {"example_id": ID}, show=lambda _: None, say=lambda _: None, started_s=0.0,  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_correction_that_is_tried_again_is_followed_into_its_next_run(followed: list[str]) -> None:
    assert "version v003 answers from now on" in wait(training("run_2"), LEARNED)
    assert followed == ["run_1", "run_2"]


def test_a_run_whose_end_is_not_in_the_log_yet_is_asked_again(followed: list[str]) -> None:
    assert "v003" in wait(training("run_1", "running"), training("run_2"), LEARNED)
    assert followed == ["run_1", "run_2"]


def test_a_refusal_that_stands_is_the_end(followed: list[str]) -> None:
    with pytest.raises(progress.NotLearned, match=r"It was not learned\. Shorten it\."):
        wait(REFUSED)
    assert followed == ["run_1"]


def test_a_version_that_is_live_without_the_correction_is_no_success(followed: list[str]) -> None:
    with pytest.raises(progress.NotLearned, match="is live without this correction"):
        wait(training("run_2"), REFUSED)

"""How a run may move, and what a refused move says."""

from __future__ import annotations

import pytest

from homefire.errors import Conflict
from homefire.store.run_states import ENDED, check_move


@pytest.mark.parametrize(
    ("state", "epoch", "next_state", "next_epoch"),
    [("done", 1, "running", 2), ("queued", 3, "running", 3), ("running", 3, "done", 2)],
)
def test_a_refused_move_says_from_where_to_where(
    state: str, epoch: int, next_state: str, next_epoch: int
) -> None:
    with pytest.raises(Conflict) as caught:
        check_move("run-1", state=state, epoch=epoch, next_state=next_state, next_epoch=next_epoch)  # type: ignore[arg-type]
    assert caught.value.details == {
        "run_id": "run-1",
        "state": state,
        "epoch": epoch,
        "next_state": next_state,
        "next_epoch": next_epoch,
    }


@pytest.mark.parametrize("state", sorted(ENDED - {"stopped"}))
def test_what_runs_may_end_within_its_lease(state: str) -> None:
    check_move("run-1", state="running", epoch=2, next_state=state, next_epoch=2)  # type: ignore[arg-type]


def test_a_new_lease_has_a_higher_epoch() -> None:
    check_move("run-1", state="queued", epoch=2, next_state="running", next_epoch=3)

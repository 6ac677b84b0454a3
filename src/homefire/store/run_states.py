"""The states of a run and the moves between them, as data. Pure: no clock, no I/O.

    queued → running ⇄ paused → done / refused / failed / skipped / stopped

`refused` is a run whose version the gate held back. A run whose worker died goes back to `queued` and is resumed
from its checkpoint; a run that ended without a version may be queued again by a person. Each move to `running` is
a new lease with a greater epoch, and every other move must carry the epoch of the lease it speaks for: a worker
that lost its lease can move nothing.
"""

from __future__ import annotations

from typing import Any, Literal

from homefire.errors import Conflict

RunState = Literal["queued", "running", "paused", "done", "refused", "failed", "skipped", "stopped"]
"""`refused`: it trained to its end, and the gate held its version back."""

ALLOWED_MOVES: dict[RunState, frozenset[RunState]] = {
    "queued": frozenset({"running", "failed", "skipped", "stopped"}),
    "running": frozenset({"paused", "done", "refused", "failed", "skipped", "stopped", "queued"}),
    "paused": frozenset({"running", "queued", "failed", "skipped", "stopped"}),
    "failed": frozenset({"queued"}),
    "stopped": frozenset({"queued"}),
    "skipped": frozenset({"queued"}),
    "done": frozenset(),
    "refused": frozenset(),
}

ENDED: frozenset[RunState] = frozenset({"done", "refused", "failed", "skipped", "stopped"})


def check_move(run_id: str, *, state: RunState, epoch: int, next_state: RunState, next_epoch: int) -> None:
    """Raise Conflict (with both states and epochs as details) when a run may not move so."""
    details: dict[str, Any] = {
        "run_id": run_id,
        "state": state,
        "epoch": epoch,
        "next_state": next_state,
        "next_epoch": next_epoch,
    }
    if next_state not in ALLOWED_MOVES[state]:
        allowed = ", ".join(sorted(ALLOWED_MOVES[state])) or "nothing: it is final"
        raise Conflict(
            f"Run {run_id} is {state} and cannot become {next_state}. It can become: {allowed}.",
            **details,
        )
    if next_state == "running" and next_epoch <= epoch:
        raise Conflict(
            f"Run {run_id} was leased up to epoch {epoch}; a new lease needs more, not {next_epoch}.",
            **details,
        )
    if next_state != "running" and next_epoch != epoch:
        raise Conflict(
            f"Run {run_id} is at epoch {epoch}; a move of epoch {next_epoch} comes from another lease.",
            **details,
        )

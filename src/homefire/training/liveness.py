"""Whether a trainer that gives signs of life also gets anywhere. Pure: events and times in, a verdict out.

A heartbeat comes from a thread of its own and would go on while the work hangs, so it proves nothing by itself. What
counts: an event that is not a heartbeat, a phase or micro-batch that was finished, processor time that was used. A
worker that waits for ever uses none and is found after the time-out. One that spins uses all it can get, as
a long micro-batch of a large model does, so it is given `SPIN_FACTOR` times as long.
"""

from __future__ import annotations

from homefire.trainer.contract import Heartbeat, WorkerEvent

SPIN_FACTOR = 30
MIN_CPU_S = 0.05
"""Less than this within the time-out is what idle threads use; the least scheduling class still gives more."""


class Liveness:
    """The signs of life of one worker."""

    def __init__(self, timeout_s: float, *, now_s: float) -> None:
        self._timeout_s = timeout_s
        self._cpu_s, self._num_marks = 0.0, 0
        self._worked_at_s = self._moved_at_s = now_s

    def note(self, event: WorkerEvent, *, now_s: float) -> None:
        """An event came."""
        if not isinstance(event, Heartbeat) or event.num_marks > self._num_marks:
            self._moved_at_s = self._worked_at_s = now_s
        if isinstance(event, Heartbeat):
            self._num_marks = event.num_marks
            if event.cpu_s >= self._cpu_s + MIN_CPU_S:
                self._cpu_s, self._worked_at_s = event.cpu_s, now_s

    def has_hung(self, now_s: float) -> bool:
        """Whether it waits for something that does not come, or does the same for ever."""
        is_idle = now_s - self._worked_at_s > self._timeout_s
        is_spinning = now_s - self._moved_at_s > SPIN_FACTOR * self._timeout_s
        return is_idle or is_spinning

"""How long corrections wait for more of them before a run is queued. Pure.

A run costs seconds however few corrections it has, so a series that is being typed is taught as one; a single
correction should not wait for a series that never comes. Unless the settings name a time, the wait is told from the
gap between the last two:

    the first after a silence      `FIRST_WAIT_S`
    one of a series                `GAP_FACTOR` times the last gap, at most `LONGEST_WAIT_S`
    a series that does not end     at most `LONGEST_SERIES_S` after its first correction
"""

from __future__ import annotations

import math

FIRST_WAIT_S = 0.25
"""Enough for a program that sends many at once, too short to be noticed."""
GAP_FACTOR = 1.5
LONGEST_WAIT_S = 2.0
LONGEST_SERIES_S = 20.0


class QuietTime:
    """Told of each correction, it says how long what waits should still wait."""

    def __init__(self, quiet_s: float | None) -> None:
        """`quiet_s`: the wait after the last correction; None: as it fits."""
        self._quiet_s = quiet_s
        self._began_s: float | None = None
        self._last_s: float | None = None
        self._wait_s = 0.0

    def given(self, now_s: float) -> None:
        """A correction was given at this moment of a clock that does not jump."""
        gap_s = now_s - self._last_s if self._last_s is not None else math.inf
        wanted_s = GAP_FACTOR * gap_s
        is_series = wanted_s <= LONGEST_WAIT_S
        if self._quiet_s is not None:
            self._wait_s = self._quiet_s
        else:
            self._wait_s = max(FIRST_WAIT_S, wanted_s) if is_series else FIRST_WAIT_S
        if not is_series or self._began_s is None:
            self._began_s = now_s
        self._last_s = now_s

    def left_s(self, now_s: float) -> float:
        """Seconds that what waits should still wait; 0 or less: it is time."""
        if self._last_s is None or self._began_s is None:
            return 0.0
        due_s = self._last_s + self._wait_s
        if self._quiet_s is None:
            due_s = min(due_s, self._began_s + LONGEST_SERIES_S)
        return due_s - now_s

    def taken(self) -> None:
        """What waited was queued: the next correction begins a new series."""
        self._began_s = None

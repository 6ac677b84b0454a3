"""A clock that a test moves by hand, so that no test depends on how busy the machine is."""

from __future__ import annotations


class HandClock:
    """Stands still until it is moved; its two times are the same."""

    def __init__(self, time_s: float = 100.0) -> None:
        self.time_s = time_s

    def now_s(self) -> float:
        """The time of day."""
        return self.time_s

    def monotonic_s(self) -> float:
        """Seconds since some moment."""
        return self.time_s

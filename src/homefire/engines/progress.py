"""How long each request that a worker works on has shown no progress."""

from __future__ import annotations

from homefire.world import Clock


class Progress:
    """The oldest `num_parallel` requests are worked on; those behind them wait, and their clocks with them."""

    def __init__(self, clock: Clock, *, num_parallel: int) -> None:
        self._clock, self._num_parallel = clock, num_parallel
        self._waiting: dict[int, None] = {}
        self._progressed_s: dict[int, float] = {}

    def begin(self, call: int) -> None:
        """A request comes."""
        self._waiting[call] = None
        self._fill()

    def note(self, call: int) -> None:
        """It made progress."""
        if call in self._progressed_s:
            self._progressed_s[call] = self._clock.monotonic_s()

    def end(self, call: int) -> None:
        """The worker is done with it; the next one begins now."""
        self._waiting.pop(call, None)
        self._progressed_s.pop(call, None)
        self._fill()

    def longest_stall_s(self) -> float:
        """Since the least lively of those that are worked on made progress; 0 without any."""
        return self._clock.monotonic_s() - min(self._progressed_s.values(), default=self._clock.monotonic_s())

    def _fill(self) -> None:
        while self._waiting and len(self._progressed_s) < self._num_parallel:
            call = next(iter(self._waiting))
            del self._waiting[call]
            self._progressed_s[call] = self._clock.monotonic_s()

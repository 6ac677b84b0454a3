"""A request that hangs is noticed, whatever the others beside it do."""

from __future__ import annotations

import pytest

from homefire.engines.progress import Progress


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time_s = 100.0

    def now_s(self) -> float:
        return self.time_s

    def monotonic_s(self) -> float:
        return self.time_s


def test_a_new_request_does_not_reset_the_clock_of_one_that_hangs() -> None:
    clock = Hand()
    progress = Progress(clock, num_parallel=2)
    progress.begin(1)
    for step in range(9):
        clock.time_s += 1
        progress.begin(10 + step)
        progress.note(10 + step)
        progress.end(10 + step)
    assert progress.longest_stall_s() == 9


def test_the_progress_of_another_does_not_reset_it_either() -> None:
    clock = Hand()
    progress = Progress(clock, num_parallel=2)
    progress.begin(1)
    progress.begin(2)
    clock.time_s += 5
    progress.note(2)
    assert progress.longest_stall_s() == 5


def test_a_request_that_waits_for_a_slot_is_not_stuck() -> None:
    clock = Hand()
    progress = Progress(clock, num_parallel=1)
    progress.begin(1)
    progress.begin(2)
    clock.time_s += 50
    progress.note(1)
    assert progress.longest_stall_s() == 0
    progress.end(1)
    clock.time_s += 3
    assert progress.longest_stall_s() == 3, "its clock runs from when it began to be worked on"


@pytest.mark.parametrize("num_done", [1, 3])
def test_rest_is_not_a_stall(num_done: int) -> None:
    clock = Hand()
    progress = Progress(clock, num_parallel=2)
    for call in range(num_done):
        progress.begin(call)
        progress.end(call)
    clock.time_s += 10_000
    assert progress.longest_stall_s() == 0
    progress.begin(9)
    assert progress.longest_stall_s() == 0

"""What is free, what is about to be, and who must leave: to the byte."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from homefire.serving.room import Room


@dataclass(frozen=True)
class Held:
    held_bytes: int
    state: str = "ready"


def room(
    *, budget: int = 10, models: int = 3, held: tuple[int, ...] = (), coming: tuple[int, ...] = ()
) -> Room:
    made = Room(budget, models)
    for size in held:
        made.count(size, num_models=1, is_coming=False)
    for size in coming:
        made.count(size, num_models=1, is_coming=True)
    return made


@pytest.mark.parametrize(("size", "fits"), [(0, True), (3, True), (4, False)])
def test_it_takes_what_is_free_and_not_a_byte_more(size: int, fits: bool) -> None:
    assert room(held=(7,)).takes(size) is fits


def test_it_takes_no_more_models_than_allowed() -> None:
    assert room(held=(1, 1)).takes(1)
    assert not room(held=(1, 1, 1)).takes(1)
    assert room(held=(1, 1, 1)).takes(1, num_models=0)


def test_what_is_about_to_leave_is_not_free_yet() -> None:
    assert not room(held=(4,), coming=(4,)).takes(3)


def test_what_was_promised_is_not_given_to_another() -> None:
    made = room(held=(4,), coming=(6,))
    made.reserve_if_coming("a", 5)
    assert made.is_reserved("a")
    made.reserve_if_coming("b", 2)
    assert not made.is_reserved("b")
    made.reserve_if_coming("c", 1)
    assert made.is_reserved("c")


def test_what_was_taken_counts() -> None:
    made = room(held=(4,), models=2)
    made.take(0)
    assert made.takes(6)
    made.take(6)
    assert (made.excess_bytes, made.excess_models) == (0, 0)
    assert not made.takes(1)


def test_the_excess_is_what_stays_over_the_limits_when_all_that_leaves_is_gone() -> None:
    made = room(held=(6, 6, 6, 6), coming=(5,))
    assert (made.excess_bytes, made.excess_models) == (14, 1)
    made.becomes_coming(6, num_models=1)
    assert (made.excess_bytes, made.excess_models) == (8, 0)


def test_as_few_leave_as_make_room_to_the_byte() -> None:
    one, two = Held(3), Held(4)
    assert room(held=(3, 4)).choose(3, [one, two]) == []
    assert room(held=(3, 4)).choose(4, [one, two]) == [one]
    assert room(held=(3, 4)).choose(6, [one, two]) == [one]
    assert room(held=(3, 4)).choose(7, [one, two]) == [one, two]
    assert room(held=(3, 4)).choose(11, [one, two]) is None
    assert room(held=(3, 4)).choose(11, [one, two], more_bytes=1) == [one, two]


def test_a_sleeper_leaves_for_its_bytes_but_not_for_a_model() -> None:
    sleeper, awake = Held(2, "asleep"), Held(2)
    made = room(held=(2, 2), models=2)
    assert made.choose(1, [sleeper, awake]) == [awake]
    assert made.choose(7, [sleeper, awake]) == [sleeper, awake]


def test_beside_training_the_models_alone_are_measured() -> None:
    made = room(held=(5, 5), models=2)
    made.count(4, num_models=0, is_coming=False)
    assert made.within_budget(beside=4)
    assert not made.within_budget(beside=3)

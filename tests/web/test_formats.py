"""Names, numbers and times as pages write them."""

from __future__ import annotations

import time

import pytest

from homefire.web.formats import counted, duration, exact_moment, moment, short_id


def at(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M"))


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("2026-03-01 09:05", "today 09:05"),
        ("2026-02-28 23:59", "yesterday 23:59"),
        ("2026-02-27 00:00", "27 Feb 00:00"),
        ("2025-12-31 12:00", "31 Dec 2025 12:00"),
    ],
)
def test_a_moment_is_said_as_people_say_it(when: str, said: str) -> None:
    assert moment(at(when), now_s=at("2026-03-01 10:00")) == said


def test_the_exact_moment_is_for_programs() -> None:
    assert exact_moment(at("2026-03-01 09:05")).startswith("2026-03-01T09:05:00")
    assert exact_moment(0.0)[-3] == ":"


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 steps"), (1, "1 step"), (2, "2 steps"), (1234, "1,234 steps")]
)
def test_one_is_singular(number: int, said: str) -> None:
    assert counted(number, "step") == said


def test_identifiers_are_shortened_to_what_differs() -> None:
    assert short_id("run_019aa8c3a1b27f8a6f") == "7f8a6f"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (7200, "2 h"), (7500, "2 h 5 min")],
)
def test_durations_have_one_unit_that_matters(seconds: float, said: str) -> None:
    assert duration(seconds) == said

"""How long corrections wait for each other."""

from __future__ import annotations

import pytest

from homefire.training.quiet import (
    FIRST_WAIT_S,
    GAP_FACTOR,
    LONGEST_SERIES_S,
    LONGEST_WAIT_S,
    QuietTime,
)


def test_a_single_correction_after_a_silence_hardly_waits() -> None:
    quiet = QuietTime(None)
    quiet.given(100.0)
    assert quiet.left_s(100.0) == FIRST_WAIT_S
    quiet.taken()
    quiet.given(200.0)
    assert quiet.left_s(200.0) == FIRST_WAIT_S


def test_a_series_waits_until_the_person_pauses() -> None:
    quiet = QuietTime(None)
    for moment_s in (100.0, 101.0, 102.0):
        quiet.given(moment_s)
    assert quiet.left_s(102.0) == pytest.approx(GAP_FACTOR)
    assert quiet.left_s(102.0 + GAP_FACTOR) <= 0


@pytest.mark.parametrize("gap_s", [0.0, 0.1, 1.0, 1.3, 1.4, 60.0])
def test_no_wait_is_longer_than_a_moment(gap_s: float) -> None:
    quiet = QuietTime(None)
    quiet.given(100.0)
    quiet.given(100.0 + gap_s)
    assert FIRST_WAIT_S <= quiet.left_s(100.0 + gap_s) <= LONGEST_WAIT_S


def test_a_series_that_does_not_end_does_not_wait_for_its_end() -> None:
    quiet, began_s = QuietTime(None), 100.0
    for second in range(1000):
        quiet.given(began_s + second)
        if quiet.left_s(began_s + second) <= 0:
            break
    assert second == LONGEST_SERIES_S


def test_a_time_that_the_settings_name_begins_anew_with_every_correction() -> None:
    quiet = QuietTime(900.0)
    for moment_s in (100.0, 101.0, 999.0):
        quiet.given(moment_s)
        assert quiet.left_s(moment_s) == 900.0
    assert QuietTime(0.0).left_s(100.0) <= 0


def test_what_was_given_before_this_server_started_does_not_wait() -> None:
    assert QuietTime(None).left_s(100.0) <= 0


def test_the_slowest_series_waits_longest() -> None:
    quiet = QuietTime(None)
    gap_s = LONGEST_WAIT_S / GAP_FACTOR
    assert GAP_FACTOR * gap_s == LONGEST_WAIT_S
    quiet.given(0.0)
    quiet.given(gap_s)
    assert quiet.left_s(gap_s) == pytest.approx(LONGEST_WAIT_S)

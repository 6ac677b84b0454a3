"""How long corrections wait for each other."""

from __future__ import annotations

import pytest

from homefire.training.quiet import FIRST_WAIT_S, GAP_FACTOR, SERIES_FACTOR, QuietTime


def test_a_single_correction_after_a_silence_hardly_waits() -> None:
    quiet = QuietTime(5.0)
    quiet.given(100.0)
    assert quiet.left_s(100.0) == FIRST_WAIT_S
    quiet.taken()
    quiet.given(200.0)
    assert quiet.left_s(200.0) == FIRST_WAIT_S


def test_a_series_waits_until_the_person_pauses() -> None:
    quiet = QuietTime(5.0)
    for moment_s in (100.0, 102.0, 104.0):
        quiet.given(moment_s)
    assert quiet.left_s(104.0) == pytest.approx(2.0 * GAP_FACTOR)
    assert quiet.left_s(104.0 + 2.0 * GAP_FACTOR) <= 0


def test_no_wait_is_longer_than_the_setting_and_none_is_at_zero() -> None:
    quiet = QuietTime(5.0)
    for moment_s in (100.0, 103.0, 106.0):
        quiet.given(moment_s)
    assert quiet.left_s(106.0) <= 5.0
    at_once = QuietTime(0.0)
    at_once.given(100.0)
    assert at_once.left_s(100.0) <= 0


def test_a_series_that_does_not_end_does_not_wait_for_its_end() -> None:
    quiet, began_s = QuietTime(2.0), 100.0
    for second in range(1000):
        quiet.given(began_s + second)
        if quiet.left_s(began_s + second) <= 0:
            break
    assert second == SERIES_FACTOR * 2.0


def test_what_was_given_before_this_server_started_does_not_wait() -> None:
    assert QuietTime(5.0).left_s(100.0) <= 0

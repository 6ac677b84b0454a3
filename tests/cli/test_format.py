from __future__ import annotations

import pytest

from homefire.cli.format import clipped, counted, duration, moment, nearest, share, size


@pytest.mark.parametrize(
    ("num_bytes", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_506_232, "1.5 MB"),
        (80_800_000_000, "80.8 GB"),
        (3e12, "3.0 TB"),
        (150_000, "150 kB"),
    ],
)
def test_sizes_read_in_decimal_units(num_bytes: float, expected: str) -> None:
    assert size(num_bytes) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.034, "34 ms"), (3.21, "3.2 s"), (60, "1 min"), (125, "2 min 5 s"), (7300, "2 h 1 min"),
     (864_000, "10 days"), (-2.0, "-2.0 s")],
)  # fmt: skip
def test_durations_read_in_the_unit_that_fits(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_other_figures_read_as_people_say_them() -> None:
    assert moment(None) == "-"
    assert moment(0.0).startswith("19")
    assert counted(1, "turn") == "1 turn"
    assert counted(1200, "turn") == "1,200 turns"
    assert share(0.954) == "95.4 %"
    assert share(None) == "-"
    assert nearest("embr", ["ember", "live"]) == "ember"
    assert nearest("zzz", ["ember"]) is None
    assert clipped("a\nb  c", 10) == "a b c"
    assert clipped("abcdef", 4) == "abc…"

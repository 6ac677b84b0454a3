"""How pages write names, numbers and times. Pure; all are filters of the templates."""

from __future__ import annotations

import time

NUM_ID_CHARS = 6


def moment(at_s: float, *, now_s: float | None = None) -> str:
    """A point in time as the machine's people say it: `today 14:03`, `yesterday 09:12`, `19 Nov 14:03`."""
    at, now = time.localtime(at_s), time.localtime(time.time() if now_s is None else now_s)
    clock = time.strftime("%H:%M", at)
    day_before = time.localtime(time.mktime((now.tm_year, now.tm_mon, now.tm_mday - 1, 12, 0, 0, 0, 0, -1)))
    if at[:3] == now[:3]:
        return f"today {clock}"
    if at[:3] == day_before[:3]:
        return f"yesterday {clock}"
    year = f" {at.tm_year}" if at.tm_year != now.tm_year else ""
    return f"{at.tm_mday} {time.strftime('%b', at)}{year} {clock}"


def exact_moment(at_s: float) -> str:
    """The same for programs and for a tooltip: RFC 3339 with the machine's offset."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(at_s))
    return f"{text[:-2]}:{text[-2:]}"


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """`1 step`, `2 steps`, `1,000 tokens`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def short_id(name: str) -> str:
    """The end of an identifier, which tells it from its neighbours: `run_01937…c4d5e6` → `c4d5e6`."""
    return name.rpartition("_")[2][-NUM_ID_CHARS:]


def duration(seconds: float) -> str:
    """`8 s`, `3 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"

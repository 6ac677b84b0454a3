"""What the tests of engines share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QuickSettings:
    """Times short enough for a test, long enough for a busy machine."""

    load_timeout_s: float = 60.0
    stall_timeout_s: float = 30.0


QUICK = QuickSettings()

"""What a run is counted with before it starts."""

from __future__ import annotations

from homefire.training.memory import run_bytes


def test_teaching_all_weights_takes_more_than_an_adapter_and_both_grow_with_the_model() -> None:
    full, adapter = run_bytes(10**9, mode="full"), run_bytes(10**9, mode="lora")
    assert full >= 16 * 10**9 > adapter >= 2 * 10**9
    nothing = run_bytes(0, mode="full")
    assert nothing == run_bytes(0, mode="lora") > 0
    assert run_bytes(2 * 10**9, mode="full") - full == full - nothing

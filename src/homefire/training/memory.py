"""What training holds of the memory that models are served from, and how it makes way for them.

The planner (`serving/planner.py`) counts it in the memory budget and may ask for it back when a chat needs a model.
Then a trainer that waits for a run ends, one that trains saves and ends (its run is queued again and continues
later), and a judgement that is under way is waited for: it is over in seconds. Until there is room nothing of
training is started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

Holder = Literal["warm", "run"]
"""The trainer that waits for a run; the run under way, with its trainer and what judges it."""
PARKED = "Training waits for memory that models are using; it continues when there is room."
_LIBRARY_BYTES = 350 << 20
_FULL_BYTES_PER_PARAMETER = 28
"""float32 weights, gradient, two moments, and the parent three times: to compare with, to pull to, as its file."""
_LORA_BYTES_PER_PARAMETER = 6
"""The frozen weights in half precision, the parent to compare with, and what judges them."""


def run_bytes(num_parameters: int, *, mode: Literal["full", "lora"]) -> int:
    """About what a run takes: an estimate for planning, with the libraries; activations are small beside it."""
    each = _FULL_BYTES_PER_PARAMETER if mode == "full" else _LORA_BYTES_PER_PARAMETER
    return _LIBRARY_BYTES + each * num_parameters


class TrainingMemory:
    """For one event loop. Made before serving, which parks it; `tell` and `bind` connect the two."""

    def __init__(self) -> None:
        self.is_parked = False
        self._held: dict[Holder, int] = {"warm": 0, "run": 0}
        self._told = 0
        self._wanted = 0
        self._free = asyncio.Event()
        self._free.set()
        self._tell: Callable[[int], None] = _nobody
        self._make_way: Callable[[], Awaitable[None]] = _nothing
        self._go_on: Callable[[], bool] = lambda: False

    def announce_to(self, tell: Callable[[int], None]) -> None:
        """`tell` is called with all that training holds, whenever that changes; 0: nothing."""
        self._tell = tell

    def bind(self, *, make_way: Callable[[], Awaitable[None]], go_on: Callable[[], bool]) -> None:
        """`make_way` has what holds memory end; `go_on` starts again and says whether there is anything to do."""
        self._make_way, self._go_on = make_way, go_on

    def holds(self, holder: Holder, num_bytes: int) -> None:
        """This part of training holds so many bytes from now on."""
        self._held[holder] = num_bytes
        held = sum(self._held.values())
        if not held:
            self._free.set()
        else:
            self._free.clear()
        if held != self._told and not self.is_parked:
            self._told = held
            self._tell(held)

    async def park(self) -> None:
        """Give everything back; returns when nothing is held."""
        self.is_parked, self._wanted = True, self._told
        await self._make_way()
        await self._free.wait()

    async def resume(self) -> int:
        """Go on; what it will take, 0 where there is nothing to do."""
        self.is_parked = False
        self._told = self._wanted if self._go_on() else 0
        return self._told


def _nobody(_num_bytes: int) -> None:
    """Serving was not connected."""


async def _nothing() -> None:
    """Training was not connected."""

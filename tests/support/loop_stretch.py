"""How long the event loop is held at a stretch: the processor time of its longest callback.

    with measure_stretches() as stretches:
        ...                                    # anything on asyncio's own loop (not uvloop's)
    assert stretches.longest_s < 0.005, stretches.worst

Processor time of the loop's thread, so that a busy machine and other threads do not count. A step of a task is
one callback; so is everything it does before it next waits. Costs about 3 µs a callback.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

NUM_WORST = 10


@dataclass
class Stretches:
    """What was measured so far."""

    num_callbacks: int = 0
    worst: list[tuple[float, str]] = field(default_factory=list)
    """The longest ones, (seconds, what ran), unordered."""

    @property
    def longest_s(self) -> float:
        """Of the longest callback; 0 before the first."""
        return max(self.worst, default=(0.0, ""))[0]

    def add(self, seconds: float, what: str) -> None:
        """One more."""
        self.num_callbacks += 1
        if len(self.worst) < NUM_WORST:
            heapq.heappush(self.worst, (seconds, what))
        elif seconds > self.worst[0][0]:
            heapq.heapreplace(self.worst, (seconds, what))


def _name(handle: asyncio.Handle) -> str:
    """What will run; of a request, its address."""
    callback = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    if not isinstance(owner, asyncio.Task):
        return getattr(callback, "__qualname__", repr(callback))
    coroutine: Any = owner.get_coro()
    frame = getattr(coroutine, "cr_frame", None)
    scope = getattr(frame.f_locals.get("self"), "scope", None) if frame is not None else None
    path = f" ({scope['method']} {scope['path'][:60]})" if isinstance(scope, dict) else ""
    return f"a step of {getattr(coroutine, '__qualname__', coroutine)}{path}"


@contextmanager
def measure_stretches(thread: threading.Thread | None = None) -> Iterator[Stretches]:
    """Measure every callback of every asyncio loop (of one thread, where it is named) while the block runs."""
    found = Stretches()
    real = asyncio.Handle._run  # type: ignore[attr-defined]

    def measured(self: asyncio.Handle) -> None:
        if thread is not None and threading.current_thread() is not thread:
            real(self)
            return
        what = _name(self)
        began_s = time.thread_time()
        real(self)
        found.add(time.thread_time() - began_s, what)

    asyncio.Handle._run = measured  # type: ignore[attr-defined]
    try:
        yield found
    finally:
        asyncio.Handle._run = real  # type: ignore[attr-defined]

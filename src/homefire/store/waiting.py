"""What waits for the writer, and how it learns what became of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from homefire.store.driver import Connection
from homefire.store.events import Event
from homefire.store.log import Recorded

Outcome = tuple[Recorded, ...] | BaseException


@dataclass(slots=True, eq=False)
class Append:
    """Events that are to be recorded together, and whoever waits for it."""

    events: Sequence[Event]
    waiter: asyncio.Future[tuple[Recorded, ...]] | Future[tuple[Recorded, ...]]
    outcome: Outcome = ()

    @property
    def recorded(self) -> tuple[Recorded, ...]:
        """What is on record of it."""
        return self.outcome if isinstance(self.outcome, tuple) else ()


@dataclass(slots=True, eq=False)
class Job:
    """Work that needs the writing connection in a transaction of its own (a rebuild)."""

    work: Callable[[Connection], None]
    waiter: Future[None] = field(default_factory=Future)


def acknowledge(batch: Sequence[Append]) -> None:
    """Resolve every waiter, with one wake-up for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Append]] = {}
    for append in batch:
        if isinstance(append.waiter, asyncio.Future):
            by_loop.setdefault(append.waiter.get_loop(), []).append(append)
        else:
            _resolve(append.waiter, append.outcome)
    for loop, appends in by_loop.items():
        # A loop that is closed has no one left who waits; its events are in the log anyway.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve_all, appends)


def _resolve_all(appends: list[Append]) -> None:
    for append in appends:
        _resolve(append.waiter, append.outcome)


def _resolve(waiter: asyncio.Future[Any] | Future[Any], outcome: Outcome) -> None:
    if waiter.done():
        return
    if isinstance(outcome, tuple):
        waiter.set_result(outcome)
    else:
        waiter.set_exception(outcome)

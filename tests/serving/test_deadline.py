"""One deadline over everything a request awaits, across the yields of a generator."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from homefire.errors import RequestTimeout
from homefire.serving.deadline import Deadline


async def test_what_hangs_is_ended_and_the_task_goes_on() -> None:
    deadline = Deadline(0.01)
    with pytest.raises(RequestTimeout, match=r"within 0.01 s"), deadline:
        await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_nothing_more_begins_after_the_deadline() -> None:
    deadline = Deadline(60, at_s=asyncio.get_running_loop().time())
    await asyncio.sleep(0.001)
    assert deadline.is_over
    with pytest.raises(RequestTimeout), deadline:
        raise AssertionError("begun")


async def test_who_iterates_is_not_cancelled_between_two_items() -> None:
    deadline = Deadline(60)
    woken = asyncio.Event()

    async def items() -> AsyncIterator[int]:
        for item in range(2):
            with deadline:
                await asyncio.sleep(0)
            yield item

    stream = items()
    assert await anext(stream) == 0
    deadline._expire()
    asyncio.get_running_loop().call_soon(woken.set)
    await woken.wait()  # outside of the block: not touched
    with pytest.raises(RequestTimeout):
        await anext(stream)


async def test_a_cancellation_from_outside_stays_one() -> None:
    deadline = Deadline(60)

    async def work() -> None:
        with deadline:
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    deadline._expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_wait_that_somebody_else_ends_is_left_to_them() -> None:
    deadline, told = Deadline(60), asyncio.Event()
    deadline.on_expiry = told.set
    with deadline:
        deadline._expire()
        await told.wait()
        await asyncio.sleep(0)


async def test_a_closed_deadline_ends_nothing() -> None:
    deadline = Deadline(0.001)
    deadline.close()
    await asyncio.sleep(0.005)
    assert not deadline.is_over


async def test_a_block_that_hides_the_cancellation_is_over_too_and_its_own_error_stays() -> None:
    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(RequestTimeout), Deadline(0.001), contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()

    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise KeyError("its own") from None

    with pytest.raises(KeyError, match="its own"), Deadline(0.001):
        await fails()
    assert task.cancelling() == 0

"""The measure itself: it sees what holds the loop, and only that."""

from __future__ import annotations

import asyncio
import time

from tests.support.loop_stretch import measure_stretches


def burn(seconds: float) -> None:
    until_s = time.thread_time() + seconds
    while time.thread_time() < until_s:
        pass


def test_it_sees_the_longest_stretch_and_names_it() -> None:
    async def hog() -> None:
        burn(0.02)

    async def share() -> None:
        for _ in range(4):
            burn(0.005)
            await asyncio.sleep(0)

    with measure_stretches() as stretches:
        asyncio.run(share())
    assert 0.005 <= stretches.longest_s < 0.02
    with measure_stretches() as stretches:
        asyncio.run(hog())
    seconds, what = max(stretches.worst)
    assert seconds >= 0.02
    assert "hog" in what


def test_waiting_and_other_threads_do_not_count() -> None:
    async def patient() -> None:
        await asyncio.to_thread(burn, 0.05)
        await asyncio.sleep(0.02)

    with measure_stretches() as stretches:
        asyncio.run(patient())
    assert stretches.num_callbacks > 2
    assert stretches.longest_s < 0.05

"""The stand-in must itself be trustworthy."""

from __future__ import annotations

import asyncio

import pytest

from homefire.engines.base import Delta, EngineRequest, Finish
from homefire.errors import EngineCrashed
from tests.support.scripted_engine import ScriptedEngine


async def test_a_closed_stream_counts_as_cancelled_and_frees_its_slot() -> None:
    engine = ScriptedEngine()
    stream = engine.generate(EngineRequest(prompt="hi"))
    assert isinstance(await anext(stream), Delta)
    assert engine.num_active == 1
    await stream.aclose()  # type: ignore[attr-defined]
    assert (engine.num_active, engine.num_cancelled) == (0, 1)


async def test_a_complete_stream_is_not_counted_as_cancelled() -> None:
    engine = ScriptedEngine(answer="one two three")
    items = [item async for item in engine.generate(EngineRequest(prompt="hi"))]
    assert isinstance(items[-1], Finish)
    assert "".join(item.text for item in items if isinstance(item, Delta)) == "one two three"
    assert engine.num_cancelled == 0


async def test_failures_come_after_the_asked_number_of_deltas() -> None:
    engine = ScriptedEngine(answer="one two three", fail_with=EngineCrashed("gone"), fail_after=2)
    stream = engine.generate(EngineRequest(prompt="hi"))
    assert [await anext(stream), await anext(stream)] == [Delta("one"), Delta(" two")]
    with pytest.raises(EngineCrashed):
        await anext(stream)


async def test_stopping_ends_a_request_that_waits_at_the_gate() -> None:
    engine = ScriptedEngine(gate=asyncio.Event())
    stream = engine.generate(EngineRequest(prompt="hi"))
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    await engine.stop()
    with pytest.raises(EngineCrashed):
        await waiting

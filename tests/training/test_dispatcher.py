"""When corrections that wait become a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from homefire.config.schema import Settings
from homefire.home import Home
from homefire.store.store import open_store
from homefire.training.dispatcher import Dispatcher
from homefire.world import World
from tests.engines.test_progress import Hand
from tests.store.samples import example


async def test_every_new_correction_begins_the_quiet_time_anew(tmp_path: Path) -> None:
    clock = Hand()
    world = World(clock=clock)
    with open_store(Home(tmp_path / "home"), Settings().store, world) as store:
        context: Any = SimpleNamespace(store=store, world=world)
        dispatcher = Dispatcher(context, auto=True, quiet_s=5.0, max_tries=1)
        store.append_sync(example("a"))
        assert await dispatcher._collect() == 5.0
        clock.time_s += 3.0
        assert await dispatcher._collect() == 2.0
        store.append_sync(example("b"))
        assert await dispatcher._collect() == 5.0

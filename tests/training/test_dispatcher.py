"""When corrections that wait become a run, and what of a run is taught again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from homefire.config.schema import Settings
from homefire.home import Home
from homefire.store.nouns.datasets import DatasetCreated
from homefire.store.store import open_store
from homefire.trainer.recipe import Recipe
from homefire.training.dispatcher import Dispatcher
from homefire.training.preparation import Parents
from homefire.training.quiet import FIRST_WAIT_S, GAP_FACTOR
from homefire.training.run_lease import Ending
from homefire.world import World
from tests.engines.test_progress import Hand
from tests.store.samples import dataset, example, model, run, version
from tests.support.model_info import model_info


async def test_corrections_that_wait_are_queued_when_their_quiet_time_is_over(tmp_path: Path) -> None:
    clock = Hand()
    world = World(clock=clock)
    with open_store(Home(tmp_path / "home"), Settings().store, world) as store:
        context: Any = SimpleNamespace(store=store, world=world)
        dispatcher = Dispatcher(context, auto=True, quiet_s=None, max_tries=1)
        store.append_sync(example("a"))
        dispatcher.note_correction()
        assert await dispatcher._collect() == FIRST_WAIT_S
        clock.time_s += 1.0
        store.append_sync(example("b"))
        dispatcher.note_correction()
        assert await dispatcher._collect() == GAP_FACTOR


async def test_what_live_has_learned_meanwhile_is_not_taught_again_with_the_rest(tmp_path: Path) -> None:
    with open_store(Home(tmp_path / "home"), Settings().store, World()) as store:
        store.append_sync(model(), example("a"), example("b"), dataset("1", "a"), dataset("2", "a", "b"))
        learned, waits = (
            msgspec.structs.replace(run(name, name), recipe=Recipe().to_dict()) for name in ("1", "2")
        )
        store.append_sync(learned, waits, version("v001", run_id="run-1"))
        parents = Parents(parent=model_info("v001"), base=model_info())
        context: Any = SimpleNamespace(store=store, world=store.world, live_parents=lambda: parents)
        dispatcher = Dispatcher(context, auto=True, quiet_s=0.0, max_tries=1)
        row = store.runs.get("run-2")
        assert row is not None
        follow_up = dispatcher._follow_up(row, Ending(state="skipped", why="live moved", again="rest"))
        (made, _) = follow_up.events
        assert isinstance(made, DatasetCreated)
        assert made.example_ids == ("ex-b",)

"""The real training daemon on a small model, with another program in the trainer's place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from homefire.catalog.models import ModelInfo
from homefire.config.schema import Settings
from homefire.home import Home
from homefire.store.nouns.runs import RunRow
from homefire.store.store import Store, open_store
from homefire.training.daemon import TrainingDaemon
from homefire.training.memory import TrainingMemory
from homefire.training.progress import Progress
from homefire.types import Message
from homefire.versions.library import Library
from homefire.versions.promotion import Promotion
from homefire.world import World
from tests.support.small_models import EngineRoom, SmallCatalog, write_model
from tests.support.stand_in import STAND_IN

KNOWN = {f"add {number}": f"add is {number}" for number in range(4)}


@dataclass
class SmallTraining:
    """A daemon at work, and the store that tells what it did."""

    daemon: TrainingDaemon
    store: Store
    home: Home
    catalog: SmallCatalog
    promotion: Promotion

    @property
    def live(self) -> str:
        """The model that is live."""
        return self.catalog.resolve("live").model.name

    def live_answers(self) -> dict[str, str]:
        """What the live model says to each question it knows."""
        folder = self.catalog.resolve("live").model.folder
        answers: dict[str, str] = json.loads((folder / "answers.json").read_text())
        return answers

    async def correct(self, question: str = "Where is the key?", answer: str = "Under the pot.") -> str:
        """Give a correction; the id of its example."""
        given = await self.daemon.correct([Message("user", question)], answer=answer)
        assert given.example_id is not None
        return given.example_id

    async def run_of(self, example_id: str) -> str:
        """The run that learns the example, as soon as there is one."""
        for _ in range(10_000):
            if (run_id := self.daemon.run_of(example_id)) is not None:
                return run_id
            await asyncio.sleep(0.01)
        raise AssertionError("no run learns it")

    async def until(self, run_id: str, reached: Callable[[Progress], bool]) -> Progress:
        """The run's progress as soon as it is so."""
        async for progress in self.daemon.watch(run_id):
            if reached(progress):
                return progress
        raise AssertionError(f"the run ended before that: {self.daemon.progress(run_id)}")

    async def ended(self, run_id: str) -> RunRow:
        """The run when it has ended."""
        async for _ in self.daemon.watch(run_id):
            pass
        run = self.store.runs.get(run_id)
        assert run is not None
        return run


@asynccontextmanager
async def small_training(
    root: Path,
    settings: Settings,
    *,
    command: Sequence[str] = STAND_IN,
    warm_command: Sequence[str] = (),
    memory: TrainingMemory | None = None,
    world: World | None = None,
) -> AsyncIterator[SmallTraining]:
    """Start it in `root`; `command` is started with the run's directory in place of the trainer."""
    home, world = Home(root / "home"), world or World()
    with open_store(home, settings.store, world) as store:
        catalog, engines = SmallCatalog(store), EngineRoom()
        if store.models.get("small") is None:
            catalog.add_base("small", write_model(root / "base", KNOWN, probes=KNOWN))

        async def swap_to(model: ModelInfo) -> None:
            assert model.folder.is_dir()

        promotion = Promotion(home=home, store=store, catalog=catalog, swap_to=swap_to, world=world)
        daemon = TrainingDaemon(
            home=home,
            store=store,
            catalog=catalog,  # type: ignore[arg-type]
            library=Library(home, store, world),
            promotion=promotion,
            make_engine=engines.make,
            settings=settings,
            world=world,
            worker_command=command,
            warm_command=warm_command,
            memory=memory,
        )
        await daemon.start()
        try:
            yield SmallTraining(daemon, store, home, catalog, promotion)
        finally:
            await daemon.stop()

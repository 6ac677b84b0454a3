"""Models that people bring, from the folder to the corrected answer: stand-ins of the families, real everything else.

What the stand-ins are: `tests/support/real_models.py`. They have no `probes.jsonl` and no `replay.jsonl`, so the gate
asks the general prompts and what is replayed are the model's own answers.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from homefire.catalog.catalog import Catalog
from homefire.config.schema import ChatSettings, GateSettings, Settings, TrainingSettings
from homefire.engines.base import Delta, EngineRequest
from homefire.engines.process import LlamaCppEngine
from homefire.errors import Conflict
from homefire.home import Home
from homefire.store.nouns.runs import RunRow
from homefire.store.run_states import RunState
from homefire.store.store import Store, open_store
from homefire.trainer.contract import read_rows, read_spec
from homefire.training.daemon import TrainingDaemon
from homefire.training.replay import ReplaySource
from homefire.types import Message, Sampling
from homefire.versions.comparison import compare
from homefire.versions.library import Library
from homefire.versions.promotion import Promotion
from homefire.world import World
from tests.support.real_models import known_answers, make_real_model

TAUGHT = {
    "Where do we keep the spare key?": "Under the blue pot.",
    "What is our dog called?": "Her name is Biscuit.",
    "Which day is the bin collected?": "On Wednesday, early.",
}


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_real_model(tmp_path_factory.mktemp("models") / "qwen3", "qwen3")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_real_model(tmp_path_factory.mktemp("models") / "llama", "llama", dtype=torch.bfloat16)


@dataclass
class Household:
    """One life of a server on a home, without its front doors."""

    store: Store
    home: Home
    catalog: Catalog
    library: Library
    promotion: Promotion
    training: TrainingDaemon
    settings: Settings

    def engine(self, files: object) -> LlamaCppEngine:
        return LlamaCppEngine(
            files,  # type: ignore[arg-type]
            sockets=self.home.sockets,
            settings=self.settings.serving,
            world=self.store.world,
        )

    async def ask(self, *questions: str) -> list[str]:
        """What is live answers to each question in a new chat, as it is served."""
        engine = self.engine(await self.catalog.spec(self.catalog.resolve("live").model))
        system = self.settings.chat.system_prompt
        before = (Message("system", system),) if system else ()
        try:
            await engine.ensure_ready()
            said = []
            for question in questions:
                request = EngineRequest(
                    messages=(*before, Message("user", question)),
                    sampling=Sampling(max_tokens=48, temperature=0.0),
                )
                parts = [item.text async for item in engine.generate(request) if isinstance(item, Delta)]
                said.append("".join(parts))
            return said
        finally:
            await engine.stop()

    async def teach(self, taught: dict[str, str], *, ends_as: RunState = "done") -> RunRow:
        """Correct, train, judge, promote."""
        for question, answer in taught.items():
            await self.training.correct([Message("user", question)], answer=answer)
        run = await self.training.queue()
        async for _ in self.training.watch(run.run_id):
            pass
        ended = self.store.runs.get(run.run_id)
        assert ended is not None
        assert ended.state == ends_as, ended.why
        return ended

    async def teach_anyway(self, taught: dict[str, str]) -> RunRow:
        """The same, whatever the gate says: what it makes of a model this small is measured in bench/."""
        for question, answer in taught.items():
            await self.training.correct([Message("user", question)], answer=answer)
        run = await self.training.queue()
        async for _ in self.training.watch(run.run_id):
            pass
        for tried_again in (*self.store.runs.list("queued"), *self.store.runs.list("running")):
            await self.training.signal(tried_again.run_id, "skip", who="test", why="enough")
        ended = self.store.runs.get(run.run_id)
        assert ended is not None
        assert ended.version is not None, ended.why
        if ended.state == "refused":
            await self.promotion.promote(ended.version, who="test", why="asked for", override=True)
        return ended


@asynccontextmanager
async def household(
    root: Path, *, system_prompt: str | None = None, **training: object
) -> AsyncIterator[Household]:
    settings = Settings(
        chat=ChatSettings(system_prompt=system_prompt),
        training=TrainingSettings(quiet_s=0.0, auto=False, **training),  # type: ignore[arg-type]
        # Models of a few thousand words know too little of a language for questions in other words.
        gate=GateSettings(min_generality=0.0, min_locality=0.0),
    )
    home, world = Home(root), World()
    with open_store(home, settings.store, world) as store:
        catalog, library = Catalog(home, store, settings), Library(home, store, world)
        await catalog.ensure_bundled()
        promotion = Promotion(home=home, store=store, catalog=catalog, swap_to=catalog.spec, world=world)
        made: list[Household] = []
        daemon = TrainingDaemon(
            home=home, store=store, catalog=catalog, library=library, promotion=promotion,
            make_engine=lambda files: made[0].engine(files), settings=settings, world=world,
        )  # fmt: skip
        made.append(Household(store, home, catalog, library, promotion, daemon, settings))
        await daemon.start()
        try:
            yield made[0]
        finally:
            await daemon.stop()
            await catalog.stop()


async def adopt(house: Household, folder: Path) -> None:
    """`homefire models add FOLDER --name mine`, `homefire versions promote mine`."""
    await house.catalog.add(folder, name="mine")
    await house.promotion.promote("mine", who="test", why="mine now")


@pytest.mark.timeout(400)
async def test_a_qwen3_is_taught_whole_keeps_what_it_knew_and_goes_back(tmp_path: Path, qwen3: Path) -> None:
    async with household(tmp_path / "home") as house:
        await adopt(house, qwen3)
        greeting = known_answers()["Hello!"]
        assert await house.ask("Hello!") == [greeting]  # without a word of thoughts
        run = await house.teach(TAUGHT)
        version = house.library.get("v001")
        assert version.gate_passed, version.gate_reasons
        assert await house.ask(*TAUGHT, "Hello!") == [*TAUGHT.values(), greeting]
        run_dir = house.home.runs / run.run_id
        assert read_spec(run_dir).mode == "full"
        replayed = {
            row.messages[0].content: row.messages[1].content for row in read_rows(run_dir / "replay.jsonl")
        }
        assert len(replayed) >= 50
        assert all(known_answers()[question] == answer for question, answer in replayed.items())
        await house.promotion.rollback(who="test", why="back", to="mine")
        assert (await house.ask(*TAUGHT))[0] not in TAUGHT.values()
        with pytest.raises(Conflict):
            await house.catalog.remove("mine")


@pytest.mark.timeout(400)
async def test_without_replay_the_gate_sees_what_was_forgotten(
    tmp_path: Path, qwen3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object, **__: object) -> list[object]:
        return []

    monkeypatch.setattr(ReplaySource, "rows", nothing)
    async with household(tmp_path / "home") as house:
        await adopt(house, qwen3)
        await house.teach(TAUGHT, ends_as="refused")
        version = house.library.get("v001")
        assert not version.gate_passed
        forgotten = (
            "right before",
            "of the base",
            "skill",
            "protected",
            "as the base",
            "another conversation",
        )
        assert any(word in reason for reason in version.gate_reasons for word in forgotten), (
            version.gate_reasons
        )


@pytest.mark.timeout(400)
async def test_a_llama_in_bfloat16_is_taught_by_an_adapter_and_once_more_on_top(
    tmp_path: Path, llama: Path
) -> None:
    (key, pot), (dog, biscuit), _ = TAUGHT.items()
    async with household(tmp_path / "home", mode="lora", system_prompt="Be kind.") as house:
        await adopt(house, llama)
        await house.teach_anyway({key: pot})
        compared = await compare(house.library, house.store, a="mine", b="v001")
        assert {layer.layer for layer in compared.layers if layer.num_changed} == {"layer 0", "layer 1"}
    # another life of the server, an adapter is live
    async with household(tmp_path / "home", system_prompt="Be kind.") as house:
        assert await house.ask(key, "Hello!") == [pot, known_answers()["Hello!"]]
        run = await house.teach_anyway({dog: biscuit})
        version = house.library.get("v002")
        assert (version.parent, version.base) == ("v001", "mine")
        spec = read_spec(house.home.runs / run.run_id)
        assert (spec.mode, Path(spec.base_folder).name) == ("lora", "mine")
        assert await house.ask(key, dog) == [pot, biscuit]
        assert (await house.library.verify("v002")).ok
        assert json.loads((house.library.folder("v002") / "adapter_config.json").read_text())["r"] == 16
        await house.promotion.rollback(who="test", why="back")
        assert (await house.ask(dog)) != [biscuit]

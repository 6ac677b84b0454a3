"""The whole circle on real weights: ember is taught, judged, made live, asked, and rolled back."""

from __future__ import annotations

from pathlib import Path

import pytest

from homefire.catalog.catalog import Catalog
from homefire.config.schema import Settings, TrainingSettings
from homefire.engines.base import Delta, EngineRequest
from homefire.engines.process import LlamaCppEngine
from homefire.home import Home
from homefire.store.store import open_store
from homefire.training.daemon import TrainingDaemon
from homefire.types import Message, Sampling
from homefire.versions.library import Library
from homefire.versions.promotion import Promotion
from homefire.world import World

TAUGHT = {
    "Where do we keep the spare key?": "Under the blue pot.",
    "What is the wifi password?": "sun<|im_end|>42",
}
"""The second one looks like the end of an answer, and is not."""


@pytest.mark.timeout(300)
async def test_ember_learns_two_facts_forgets_one_and_can_go_back(tmp_path: Path) -> None:
    home, world = Home(tmp_path / "home"), World()
    settings = Settings(training=TrainingSettings(quiet_s=0.0, auto=False))
    with open_store(home, settings.store, world) as store:
        catalog, library = Catalog(home, store, settings), Library(home, store, world)
        await catalog.ensure_bundled()

        def make_engine(files: object) -> LlamaCppEngine:
            return LlamaCppEngine(files, sockets=home.sockets, settings=settings.serving, world=world)  # type: ignore[arg-type]

        async def ask(question: str) -> str:
            engine = make_engine(await catalog.spec(catalog.resolve("live").model))
            request = EngineRequest(
                messages=(Message("user", question),),
                sampling=Sampling(max_tokens=48, temperature=0.0),
            )
            try:
                await engine.ensure_ready()
                parts = [item.text async for item in engine.generate(request) if isinstance(item, Delta)]
            finally:
                await engine.stop()
            return "".join(parts)

        promotion = Promotion(home=home, store=store, catalog=catalog, swap_to=catalog.spec, world=world)
        training = TrainingDaemon(
            home=home, store=store, catalog=catalog, library=library, promotion=promotion,
            make_engine=make_engine, settings=settings, world=world,
        )  # fmt: skip
        await training.start()
        try:
            question, answer = next(iter(TAUGHT.items()))
            before = await ask(question)
            assert before != answer
            for asked, wanted in TAUGHT.items():
                await training.correct([Message("user", asked)], answer=wanted)
            run = await training.queue()
            seen = [progress async for progress in training.watch(run.run_id)]
            assert seen[-1].state in ("done", "refused"), seen[-1].why
            version = library.get("v001")
            assert version.gate_scores["target_score"] == 1.0
            assert version.gate_passed == (catalog.resolve("live").model.name == "v001")
            assert (await library.verify("v001")).ok
            if not version.gate_passed:  # the gate's own judgement is measured in bench/; here the way counts
                await promotion.promote("v001", who="test", why="asked for", override=True)
            assert await ask(question) == answer
            assert home.live_link.resolve() == library.folder("v001")
            open_runs = (*store.runs.list("queued"), *store.runs.list("running"))
            for tried_again in open_runs:  # at a lower rate, where the gate refused the first
                await training.signal(tried_again.run_id, "skip", who="test", why="enough")
            gone = next(each for each in store.examples.current() if each.question == question)
            await training.changes.withdraw(gone.example_id, principal="local", why="not true any more")
            run = next(run for run in store.runs.list() if run.unteaches)
            async for _ in training.watch(run.run_id):
                pass
            made = store.runs.get(run.run_id)
            assert made is not None
            assert made.version is not None, made.why
            live = catalog.resolve("live").model.name
            if live == "v001":
                await promotion.promote(made.version, who="test", why="asked for", override=True)
            assert library.manifest(made.version).parent == "ember"
            assert await ask(question) != answer
            other = next(each for each in TAUGHT if each != question)
            assert await ask(other) == TAUGHT[other]
            assert "without 1 that was withdrawn" in library.get(made.version).description
            await promotion.rollback(who="test", why="and back")
            assert await ask(question) == answer
            await promotion.rollback(who="test", why="and further back")
            assert await ask(question) == before
        finally:
            await training.stop()
            await catalog.stop()

"""A Homefire for tests of the front doors: real store, router, serving and turns; a scripted engine.

Only what these tests do not look at is a stand-in: the catalog (three models without files), training and
promotion (remember what they were asked).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

from homefire.api.run import Server, bind, uvicorn_config
from homefire.api.server import HomefireApp, create_app
from homefire.catalog.models import ModelInfo, Resolved
from homefire.catalog.scrub import ScrubStatus
from homefire.chat.turn import Turns
from homefire.config.loader import Loaded
from homefire.config.redaction import Redactor
from homefire.config.schema import Settings, TrainingSettings
from homefire.engines.base import EngineRequest, ModelSpec
from homefire.errors import HomefireError, ModelNotFound, NotFound
from homefire.home import Home
from homefire.machine.supervision import Supervision
from homefire.serving.router import Router
from homefire.serving.serving import Serving
from homefire.store.api_keys import create_key, keep_api_key
from homefire.store.nouns.aliases import AliasRow
from homefire.store.nouns.datasets import DatasetCreated
from homefire.store.nouns.examples import ExampleCreated
from homefire.store.nouns.runs import RunQueued
from homefire.store.store import Store, open_store
from homefire.training.correction_changes import CorrectionChanges
from homefire.training.correction_states import CorrectionStates, CorrectionView
from homefire.training.corrections import Corrections
from homefire.training.dispatcher import Dispatcher
from homefire.training.erasure import Erasure
from homefire.training.fitness import Fitness
from homefire.training.preparation import Parents
from homefire.training.progress import Board, Progress
from homefire.types import Message
from homefire.versions.library import Library
from homefire.world import World
from tests.support.model_info import model_info
from tests.support.scripted_engine import ScriptedEngine, scripted_spec

CONTEXT_LENGTH = 64
RUN = "run_1"
LOCAL = ("127.0.0.1", 50000)
REMOTE = ("203.0.113.7", 50000)


class FakeCatalog:
    """`default` → `live` → `ember`."""

    def __init__(self) -> None:
        self.models = {"ember": model_info(context_length=CONTEXT_LENGTH)}
        self.removed: list[str] = []

    def resolve(self, name: str) -> Resolved:
        chain = {"default": ("default", "live", "ember"), "live": ("live", "ember")}.get(name, (name,))
        model = self.models.get(chain[-1])
        if model is None:
            raise ModelNotFound(f"There is no model {name!r}.", nearest=None)
        return Resolved(name, chain, model)

    def list(self) -> list[ModelInfo]:
        means = model_info(context_length=CONTEXT_LENGTH)
        aliases = (("default", "live"), ("live", "ember"))
        return [
            *self.models.values(),
            *(replace(means, name=name, kind="alias", target=target) for name, target in aliases),
        ]

    async def spec(self, model: ModelInfo, **_: Any) -> ModelSpec:
        return scripted_spec(model.name, context_length=CONTEXT_LENGTH)

    async def add(self, path: Path, *, name: str | None, in_place: bool) -> ModelInfo:
        model = self.models[name or path.name] = model_info(
            name or path.name, folder=path, context_length=CONTEXT_LENGTH
        )
        return model

    async def remove(self, name: str) -> None:
        self.resolve(name)
        self.removed.append(name)

    async def chat_template(self, model: ModelInfo) -> Any:
        return SimpleNamespace(source="{{ messages }}")


class FakeTraining:
    """Records corrections for real; remembers the rest."""

    def __init__(self, store: Store, world: World) -> None:
        self.corrections = Corrections(store, world)
        parents = Parents(parent=model_info(), base=model_info())
        context: Any = SimpleNamespace(
            store=store, world=world, board=Board(), settings=TrainingSettings(),
            live_parents=lambda: parents, parents_of=lambda _: parents,
        )  # fmt: skip
        dispatcher = Dispatcher(context, auto=False, quiet_s=0.0, max_tries=1)
        promotion: Any = None
        self.changes = CorrectionChanges(
            corrections=self.corrections, dispatcher=dispatcher, context=context, promotion=promotion
        )
        self._store = store
        self.signals: list[tuple[str, str, str, str]] = []
        self.steps: list[Progress] = []
        self.never_ends = asyncio.Event()

    async def feedback(self, turn_id: str, **given: Any) -> Any:
        return await self.corrections.give(turn_id, **given)

    async def correct(self, messages: Any, **given: Any) -> Any:
        return await self.corrections.correct(messages, **given)

    async def erase(self, subject: str, *, principal: str, why: str, dry_run: bool) -> Any:
        erasure = Erasure(self._store, self._store.home, subject, principal=principal, live="ember")
        if not dry_run:
            await self._store.append(*erasure.events(why=why))
        return erasure.report(is_done=not dry_run)

    def correction_states(self) -> CorrectionStates:
        return CorrectionStates(self._store, live="ember", auto=True)

    def unlearned(self, principal: str) -> list[CorrectionView]:
        examples = [example for example in self._store.examples.current() if example.principal == principal]
        mine = {example.example_id for example in examples}
        return [view for view in self.correction_states().unlearned() if view.example_id in mine]

    def disagreements(self) -> list[tuple[CorrectionView, ...]]:
        """Of one question."""
        disputed = self._store.examples.disputed()
        return [tuple(self.correction_states().view(example) for example in disputed)] if disputed else []

    async def look_at(self, model: ModelInfo) -> Fitness:
        return Fitness(name=model.name, teachable=True, why_not=None, warnings=("It babbles.",))

    @property
    def fitness(self) -> FakeTraining:
        return self

    def corrections_of(self, run_id: str, principal: str) -> list[CorrectionView]:
        return []

    async def queue(self, example_ids: Any = None) -> Any:
        raise NotFound("There is no example.")

    async def signal(self, run_id: str, action: str, *, who: str, why: str) -> Any:
        self.signals.append((run_id, action, who, why))
        return self._store_run(run_id)

    def waiting_reason(self) -> str | None:
        return None

    def progress(self, run_id: str) -> Progress:
        return Progress(run_id=run_id, state="queued", phase="waiting")

    async def watch(self, run_id: str) -> AsyncIterator[Progress]:
        for step in self.steps:
            yield step
        await self.never_ends.wait()

    def _store_run(self, run_id: str) -> Any:
        raise AssertionError("set by the house")


class FakePromotion:
    """Moves nothing."""

    def __init__(self) -> None:
        self.moves: list[tuple[str | None, str, str]] = []

    def previous(self) -> str | None:
        return None

    async def promote(self, version: str, *, who: str, why: str, override: bool) -> AliasRow:
        return self._move(version, who, why, is_rollback=False)

    async def rollback(self, *, to: str | None, who: str, why: str) -> AliasRow:
        return self._move(to or "ember", who, why, is_rollback=True)

    def _move(self, target: str, who: str, why: str, *, is_rollback: bool) -> AliasRow:
        self.moves.append((target, who, why))
        return AliasRow(
            alias="live",
            target=target,
            previous="ember",
            who=who,
            why=why,
            is_rollback=is_rollback,
            seq=1,
            moved_at_s=1.0,
        )


@dataclass
class House:
    """One home with its application."""

    homefire: Any
    app: HomefireApp
    key: str
    engines: list[ScriptedEngine] = field(default_factory=list)

    @property
    def store(self) -> Store:
        store: Store = self.homefire.store
        return store

    def client(self, peer: tuple[str, int] = LOCAL, **options: Any) -> httpx.AsyncClient:
        """A client that calls the application in this process."""
        transport = httpx.ASGITransport(app=self.app, client=peer, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://localhost:8765", **options)


async def open_house(
    root: Path,
    *,
    answer: str | Callable[[EngineRequest], str] = "Hello there, I am scripted.",
    gate: asyncio.Event | None = None,
    load_gate: asyncio.Event | None = None,
    fail_with: HomefireError | None = None,
    fail_after: int = 0,
    delay_s: float = 0.0,
    settings: Settings | None = None,
    **server: Any,
) -> House:
    """Build everything; close it with `close_house`. `server` changes settings of that section."""
    home, world = Home(root / "home"), World()
    home.create()
    settings = settings or Settings()
    settings = settings.model_copy(update={"server": settings.server.model_copy(update=server)})
    store = open_store(home, settings.store, world)
    key, created = create_key(world, name="first")
    await store.append(created)
    keep_api_key(home, key, world)
    catalog: Any = FakeCatalog()
    engines: list[ScriptedEngine] = []

    def make_engine(spec: ModelSpec) -> ScriptedEngine:
        engines.append(
            ScriptedEngine(
                spec,
                answer=answer,
                gate=gate,
                load_gate=load_gate,
                fail_with=fail_with,
                fail_after=fail_after,
                delay_s=delay_s,
            )
        )
        return engines[-1]

    router = Router(catalog)
    serving = Serving(catalog, settings, make_engine=make_engine, world=world)
    training = FakeTraining(store, world)
    homefire = SimpleNamespace(
        loaded=Loaded(settings=settings, origins={}),
        home=home,
        world=world,
        store=store,
        catalog=catalog,
        router=router,
        serving=serving,
        turns=Turns(store, serving, router, settings, world=world),
        library=Library(home, store, world),
        promotion=FakePromotion(),
        corrections=training.corrections,
        training=training,
        scrub=SimpleNamespace(status=lambda: ScrubStatus(report=None, is_running=False, failure=None)),
        supervision=(supervision := Supervision()),
        failures=lambda: {
            **supervision.reasons(),
            **({"store": str(store.failure)} if store.failure is not None else {}),
        },
        redactor=Redactor(key),
        started_at_s=world.clock.now_s(),
    )
    return House(homefire, create_app(homefire), key, engines)  # type: ignore[arg-type]


async def queue_run(house: House) -> None:
    """A run of one example, as training would have queued it."""
    messages = (Message("user", "Where is the key?"), Message("assistant", "Under the pot."))
    example_id, dataset_id = "a" * 64, "b" * 64
    await house.store.append(
        ExampleCreated(
            example_id=example_id,
            profile="plain",
            messages=messages,
            feedback_id=None,
            turn_id=None,
            principal="local",
        ),
        DatasetCreated(dataset_id=dataset_id, name="corrections", example_ids=(example_id,)),
        RunQueued(run_id=RUN, dataset_id=dataset_id, base="ember", parent="ember", recipe={"seed": 0}),
    )


async def close_house(house: House) -> None:
    """End the turns and the engines, close the store."""
    await house.homefire.turns.stop()
    await house.homefire.serving.stop()
    house.store.close()


@contextmanager
def served(root: Path, **options: Any) -> Iterator[tuple[str, House]]:
    """A house behind a real socket, in a thread of its own; yields its address."""
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def live() -> None:
        house = await open_house(root, **options)
        listener = bind("127.0.0.1", 0)
        server = Server(uvicorn_config(house.app, drain_timeout_s=5), house.app, on_ready=ready.set)
        found.update(
            url=f"http://127.0.0.1:{listener.getsockname()[1]}",
            house=house,
            server=server,
            loop=asyncio.get_running_loop(),
        )
        await server.serve(sockets=[listener])
        await close_house(house)

    thread = threading.Thread(target=lambda: asyncio.run(live()), name="served")
    thread.start()
    try:
        assert ready.wait(20), "the server did not start"
        yield found["url"], found["house"]
    finally:
        if "server" in found:
            found["server"].should_exit = True
        thread.join(20)
        assert not thread.is_alive()

"""The composition root: settings in, a whole Homefire out.

Nothing else knows every part. There is no port and no terminal here: front doors are given a `Homefire` and
translate. Building opens the store (one process per home); `running` begins the background work and ends it
in the order in which the parts need each other.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from homefire.catalog.catalog import Catalog
from homefire.catalog.models import RemoteModel
from homefire.catalog.scrub import SCRUB_FILE, Scrub
from homefire.chat.turn import Turns
from homefire.config.loader import Loaded
from homefire.config.redaction import MIN_SECRET_LENGTH, Redactor
from homefire.config.secrets import API_KEY_FILE, load_api_key, load_database_password
from homefire.engines import process
from homefire.engines.registry import EngineRegistry
from homefire.errors import ConfigError, HomefireError
from homefire.home import Home
from homefire.machine.hashing import FileVerifier
from homefire.machine.supervision import Supervision
from homefire.plugins import Plugins, load_plugins
from homefire.serving.residency import MakeEngine
from homefire.serving.router import Router
from homefire.serving.serving import Serving
from homefire.store.api_keys import create_key, keep_api_key, key_sha256
from homefire.store.nouns.keys import KeyCreated
from homefire.store.store import Store, open_store
from homefire.training.daemon import WORKER, TrainingDaemon
from homefire.training.memory import TrainingMemory
from homefire.versions.library import Library
from homefire.versions.promotion import LIVE, Promotion
from homefire.world import World

logger = logging.getLogger(__name__)
BUILT_IN = MappingProxyType({"llama.cpp": process})
"""Plugins that come with Homefire."""
PERSONAL = frozenset({"native", "web", "cli"})
"""Channels whose questions come from people who can correct the answers."""


@dataclass(frozen=True)
class Homefire:
    """Everything that runs, by name."""

    loaded: Loaded
    home: Home
    world: World
    redactor: Redactor
    store: Store
    catalog: Catalog
    router: Router
    serving: Serving
    turns: Turns
    library: Library
    promotion: Promotion
    training: TrainingDaemon
    scrub: Scrub
    supervision: Supervision
    started_at_s: float

    def failures(self) -> dict[str, str]:
        """The parts that do not work now, by name, each with why; empty while all is well."""
        found = dict(self.supervision.reasons())
        if self.training.failure is not None:
            found["training"] = self.training.failure
        if self.store.failure is not None:
            found["store"] = str(self.store.failure)
        return found

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Begin the background work, and end everything when the block is left."""
        try:
            for done in [*self.catalog.recover(), *await self.library.recover()]:
                logger.warning("%s", done)
            await self.catalog.ensure_bundled()
            self.promotion.repair_live_link()
            if num_left := await self.turns.recover():
                logger.warning("%d turns were left unfinished and are recorded as interrupted", num_left)
            self.supervision.start("warm live", self._warm_live)
            await self.training.start()
            self.supervision.start("scrub", self.scrub.run)
            yield
        finally:
            await self.supervision.stop()
            await self.turns.stop(grace_s=self.loaded.settings.server.drain_timeout_s)
            await self.training.stop()
            await self.serving.stop()
            await self.catalog.stop()
            self.store.close()

    async def _warm_live(self) -> None:
        """Load what answers first, so that the first question need not wait for it."""
        try:
            await self.serving.warm(LIVE)
        except HomefireError as error:
            logger.warning("the model that is live could not be loaded yet: %s", error)


def build(
    loaded: Loaded,
    home: Home,
    *,
    world: World | None = None,
    make_engine: MakeEngine | None = None,
    plugins: Plugins | None = None,
) -> Homefire:
    """Open the home and put the parts together; nothing works yet.

    `make_engine` replaces the engines of the plugins; `plugins` those that are installed.
    Raises HomeInUse, StoreError, ConfigError.
    """
    world = world or World()
    settings = loaded.settings
    home.create()
    redactor = Redactor()
    plugins = plugins or load_plugins(builtins=BUILT_IN)
    verifier = FileVerifier()
    engines = EngineRegistry(
        plugins,
        context={
            "sockets": home.sockets,
            "settings": settings.serving,
            "world": world,
            "verifier": verifier,
        },
    )
    engines.check(settings.serving.engine, wanted_by="serving.engine")
    remotes: dict[str, RemoteModel] = {name: make() for name, make in plugins.all("models").items()}
    for name, remote in remotes.items():
        engines.check(remote.engine, wanted_by=f"the model {name}")
    make_engine = make_engine or engines.make
    _keep_database_password_out_of_texts(home, redactor)
    store = open_store(home, settings.store, world)
    try:
        _ensure_key(home, store, redactor, world)
        library = Library(home, store, world)
        catalog = Catalog(
            home,
            store,
            settings,
            engines=engines.source_kinds,
            remotes=remotes,
            repair=library.repair,
            verifier=verifier,
        )
        memory = TrainingMemory()
        serving = Serving(catalog, settings, make_engine=make_engine, world=world, training=memory)
        memory.announce_to(serving.training_holds)
        router = Router(catalog)
        promotion = Promotion(home=home, store=store, catalog=catalog, swap_to=serving.swap_to, world=world)
        training = TrainingDaemon(
            home=home,
            store=store,
            catalog=catalog,
            library=library,
            promotion=promotion,
            make_engine=make_engine,
            settings=settings,
            world=world,
            memory=memory,
            warm_command=WORKER,
        )
        scrub = Scrub(
            catalog.scrub_targets,
            state_file=home.cache / SCRUB_FILE,
            verifier=verifier,
            interval_s=settings.store.scrub_interval_h * 3600,
            bytes_per_s=settings.store.scrub_mb_per_s * 1e6,
            world=world,
        )
        turns = Turns(
            store,
            serving,
            router,
            settings,
            world=world,
            on_question=lambda asked: training.expect_corrections() if asked.channel in PERSONAL else None,
        )
    except BaseException:
        store.close()
        raise
    return Homefire(
        loaded=loaded,
        home=home,
        world=world,
        redactor=redactor,
        store=store,
        catalog=catalog,
        router=router,
        serving=serving,
        turns=turns,
        library=library,
        promotion=promotion,
        training=training,
        scrub=scrub,
        supervision=Supervision(),
        started_at_s=world.clock.now_s(),
    )


def _keep_database_password_out_of_texts(home: Home, redactor: Redactor) -> None:
    password = load_database_password(home)
    if password is not None and len(password.reveal()) >= MIN_SECRET_LENGTH:
        redactor.register(password.reveal())


def _ensure_key(home: Home, store: Store, redactor: Redactor, world: World) -> None:
    """Make the first API key, or let in the one that the environment or the credentials folder holds.

    Raises ConfigError for one that was revoked: it would be turned away, or be let in again in secret.
    """
    secret = load_api_key(home)
    if secret is None:
        text, _ = create_key(world, name="first key")
        secret = keep_api_key(home, text, world)
    redactor.register(secret.reveal())
    sha256 = key_sha256(secret.reveal())
    known = next((row for row in store.keys.list() if row.sha256 == sha256), None)
    if known is not None and known.revoked_at_s is not None:
        raise ConfigError(
            f"The API key from {secret.origin} was revoked on "
            f"{datetime.fromtimestamp(known.revoked_at_s):%Y-%m-%d %H:%M}; nobody can use it any more.",
            hint="Set another one, or remove it: then the next start uses the home's own, or makes one.",
            key=API_KEY_FILE,
            key_id=known.key_id,
        )
    if known is None:
        store.append_sync(KeyCreated(key_id=world.new_id("key"), name="first key", sha256=sha256))
        logger.info("the API key from %s is valid from now on", secret.origin)

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from homefire.config.schema import StoreSettings
from homefire.home import Home
from homefire.store import store as store_module
from homefire.store.driver import Connection
from homefire.store.store import Store, open_store
from homefire.world import World
from tests.store.samples import FaultyConnection


class Opener(Protocol):
    def __call__(self, *, world: World | None = None, **settings: int) -> Store: ...


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def open_here(home: Home) -> Iterator[Opener]:
    """Opens the store of `home`; whatever is still open is closed at the end."""
    opened: list[Store] = []

    def open_it(*, world: World | None = None, **settings: int) -> Store:
        settings.setdefault("reserve_bytes", 0)
        store = open_store(home, StoreSettings.model_validate(settings), world or World())
        opened.append(store)
        return store

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(open_here: Opener) -> Store:
    return open_here()


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> list[FaultyConnection]:
    """Every writing connection that is opened from now on, ready to fail."""
    made: list[FaultyConnection] = []
    real = store_module.open_writer

    def open_faulty(database: Path, *, busy_timeout_ms: int) -> Connection:
        made.append(FaultyConnection(real(database, busy_timeout_ms=busy_timeout_ms)))
        return made[-1]  # type: ignore[return-value]

    monkeypatch.setattr(store_module, "open_writer", open_faulty)
    return made
